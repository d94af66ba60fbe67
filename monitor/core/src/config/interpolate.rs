//! Puts the environment into the configuration: `${NAME}`, `${NAME:-default}`, and `$${` for a
//! literal `${`.
//!
//! Before: the parsed file. After: [`super::structure`] checks the result, so what a variable holds
//! can never become a key or a list. Reads no environment itself: it is asked through a closure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::{ConfigError, escaped, place};

/// What happened to the texts of a file. Places are JSON pointers.
#[derive(Debug, Default)]
pub(super) struct Interpolation {
    /// Texts that hold a variable's value now.
    pub(super) filled: BTreeSet<String>,
    /// Texts that could not be filled, with the reason.
    pub(super) refused: Vec<(String, ConfigError)>,
}

/// Replaces the variables in every text below `value`.
pub(super) fn interpolate(
    value: &mut Value,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Interpolation {
    let mut outcome = Interpolation::default();
    walk(value, "", environment, &mut outcome);
    outcome
}

fn walk(
    value: &mut Value,
    pointer: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    outcome: &mut Interpolation,
) {
    match value {
        Value::String(text) if text.contains("${") => match fill(text, environment) {
            Ok(filled) => {
                *text = filled;
                outcome.filled.insert(pointer.to_owned());
            }
            Err(error) => {
                let error = ConfigError {
                    path: place(pointer),
                    problem: error.to_string(),
                    hint: error.hint(),
                };
                outcome.refused.push((pointer.to_owned(), error));
            }
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{pointer}/{index}"), environment, outcome);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries.iter_mut() {
                walk(entry, &format!("{pointer}/{}", escaped(key)), environment, outcome);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fill(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<String, InterpolateError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            filled.push_str(literal);
            filled.push_str("${");
            rest = after;
            continue;
        }
        let (expression, after) = after.split_once('}').ok_or(InterpolateError::Unclosed)?;
        filled.push_str(before);
        filled.push_str(&look_up(expression, environment)?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn look_up(
    expression: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<String, InterpolateError> {
    let (name, default) = match expression.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (expression, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(InterpolateError::Name { name: name.into() });
    }
    match (environment(name), default) {
        // As in a shell, an empty variable takes the default too.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.into()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.into()),
        (None, None) => Err(InterpolateError::Unset { name: name.into() }),
    }
}

/// A text whose variables cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum InterpolateError {
    /// The environment does not know it.
    #[error("needs the environment variable `{name}`, which is not set")]
    Unset {
        /// The variable.
        name: String,
    },
    /// Not a name of the environment.
    #[error("has `{name}` where the name of an environment variable belongs")]
    Name {
        /// What stands there.
        name: String,
    },
    /// No `}` follows.
    #[error("has `${{` without a `}}`")]
    Unclosed,
}

impl InterpolateError {
    fn hint(&self) -> String {
        match self {
            Self::Unset { name } => {
                format!("set it, or give a default: `${{{name}:-default}}`")
            }
            Self::Name { .. } => {
                "use letters, digits and `_` as in `${HOME}`, or write `$${` for a literal `${`"
                    .into()
            }
            Self::Unclosed => "close it, or write `$${` for a literal `${`".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("kafka.local".into()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOST}".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes_are_filled_in() {
        for (text, filled) in [
            ("${HOST}:9092", "kafka.local:9092"),
            ("${HOST}${HOST}", "kafka.localkafka.local"),
            ("${PORT:-9092}", "9092"),
            ("${EMPTY:-full}", "full"),
            ("${PORT:-}", ""),
            ("[${EMPTY}]", "[]"),
            ("$${HOST}", "${HOST}"),
            ("$$${HOST}", "$${HOST}"),
            ("$HOST costs $5", "$HOST costs $5"),
            ("${TRICKY}", "${HOST}"),
        ] {
            assert_eq!(fill(text, &environment).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn texts_are_filled_at_any_depth_and_keys_never() {
        let mut value = serde_json::json!({"a/b": [1, {"${HOST}": "${HOST}"}], "c": "${NONE}"});
        let outcome = interpolate(&mut value, &environment);
        assert_eq!(
            value,
            serde_json::json!({"a/b": [1, {"${HOST}": "kafka.local"}], "c": "${NONE}"})
        );
        assert_eq!(outcome.filled, BTreeSet::from(["/a~1b/1/${HOST}".to_owned()]));
        let refused: Vec<_> = outcome.refused.iter().map(|(_, error)| error.to_string()).collect();
        assert_eq!(
            refused,
            ["`c`: needs the environment variable `NONE`, which is not set; set it, or give a \
              default: `${NONE:-default}`"]
        );
    }
}
