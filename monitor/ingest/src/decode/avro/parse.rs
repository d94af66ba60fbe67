//! The JSON text of a schema into its model.
//!
//! Before: [`AvroSchema::parse`]. After: [`super::schema`] is read by its indexes. Nesting is
//! bounded by that of JSON, which `serde_json` bounds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::schema::{
    AvroSchema, AvroSchemaError, BytesMeaning, NODES_MAX, Node, SCHEMA_BYTES_MAX, SchemaProblem,
    Shape,
};
use crate::decode::typed::value::WholeMeaning;

/// Most digits behind the point of a decimal: an `i128`, which its digits must fit, has 39.
const SCALE_MAX: usize = 38;

pub(super) fn parse(text: &str, references: &[&str]) -> Result<AvroSchema, AvroSchemaError> {
    let mut parser = Parser { nodes: Vec::new(), names: BTreeMap::new(), place: Vec::new() };
    for reference in references {
        parser.document(reference)?;
    }
    let root = parser.document(text)?;
    Ok(AvroSchema { nodes: parser.nodes, root, is_whole: references.is_empty() })
}

struct Parser {
    nodes: Vec<Node>,
    /// Full names and the types that they stand for.
    names: BTreeMap<String, usize>,
    /// Names of the types and fields around what is read.
    place: Vec<String>,
}

type Parsed = Result<usize, AvroSchemaError>;

impl Parser {
    fn document(&mut self, text: &str) -> Parsed {
        if SCHEMA_BYTES_MAX < text.len() {
            return Err(AvroSchemaError::TooLong { bytes: text.len() });
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| AvroSchemaError::NotJson { problem: error.to_string() })?;
        self.parse(&value, "")
    }

    /// Reads a type, with the namespace of names that have none.
    fn parse(&mut self, value: &Value, namespace: &str) -> Parsed {
        match value {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.object(object, namespace),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                Err(self.invalid(SchemaProblem::NoType))
            }
        }
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed {
        let name = match object.get("type") {
            Some(Value::String(name)) => name,
            Some(inner @ (Value::Array(_) | Value::Object(_))) => {
                return self.parse(inner, namespace);
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => {
                return Err(self.invalid(SchemaProblem::NoType));
            }
        };
        let logical = object.get("logicalType").and_then(Value::as_str).unwrap_or_default();
        match &**name {
            "int" => self.add(Shape::Int(int_meaning(logical))),
            "long" => self.add(Shape::Long(long_meaning(logical))),
            "bytes" => self.add(Shape::Bytes(bytes_meaning(logical, object, None))),
            "array" | "map" => {
                let attribute = if name == "array" { "items" } else { "values" };
                let inner = object.get(attribute);
                let inner = inner.ok_or_else(|| self.attribute(attribute))?;
                let inner = self.parse(inner, namespace)?;
                self.add(if name == "array" { Shape::Array(inner) } else { Shape::Map(inner) })
            }
            "record" | "error" => self.record(object, namespace),
            "enum" => self.enumeration(object, namespace),
            "fixed" => self.fixed(object, namespace, logical),
            _ => self.named(name, namespace),
        }
    }

    /// Finds what a name stands for.
    fn named(&mut self, name: &str, namespace: &str) -> Parsed {
        let shape = match name {
            "null" => Shape::Null,
            "boolean" => Shape::Boolean,
            "int" => Shape::Int(WholeMeaning::Number),
            "long" => Shape::Long(WholeMeaning::Number),
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" => Shape::Bytes(BytesMeaning::Bytes),
            "string" => Shape::String,
            _ => {
                let full = full_name(name, namespace);
                let found = self.names.get(&full).or_else(|| self.names.get(name));
                return found
                    .copied()
                    .ok_or_else(|| self.invalid(SchemaProblem::UnknownName(full)));
            }
        };
        self.add(shape)
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Parsed {
        let mut parsed = Vec::with_capacity(branches.len());
        for branch in branches {
            let branch = self.parse(branch, namespace)?;
            if matches!(self.nodes[branch].shape, Shape::Union(_)) {
                return Err(self.invalid(SchemaProblem::UnionInUnion));
            }
            parsed.push(branch);
        }
        self.add(Shape::Union(parsed))
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed {
        let (name, namespace) = self.define(object, namespace)?;
        // Known before its fields are read: they may be of this type themselves.
        let shape = Shape::Record { name: name.as_str().into(), fields: Vec::new() };
        let index = self.add(shape)?;
        self.nodes[index].width = None;
        self.know(&name, index)?;
        self.place.push(name.clone());
        let listed = object.get("fields").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| self.attribute("fields"))?;
        let mut fields: Vec<(Box<str>, usize)> = Vec::with_capacity(listed.len());
        let mut seen = BTreeSet::new();
        for field in listed {
            let field_name = field.get("name").and_then(Value::as_str);
            let field_name = field_name.ok_or_else(|| self.attribute("fields[].name"))?;
            if !seen.insert(field_name) {
                return Err(self.invalid(SchemaProblem::Repeated(field_name.to_owned())));
            }
            self.place.push(field_name.to_owned());
            let kind = field.get("type");
            let kind = kind.ok_or_else(|| self.invalid(SchemaProblem::NoType))?;
            fields.push((field_name.into(), self.parse(kind, &namespace)?));
            self.place.pop();
        }
        self.place.pop();
        let shape = Shape::Record { name: name.into(), fields };
        let width = shape.width(&self.nodes);
        self.nodes[index] = Node { shape, width };
        Ok(index)
    }

    fn enumeration(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed {
        let (name, _) = self.define(object, namespace)?;
        let symbols = object.get("symbols").and_then(Value::as_array);
        let symbols = symbols.ok_or_else(|| self.attribute("symbols"))?;
        let symbols: Option<Vec<Box<str>>> =
            symbols.iter().map(|symbol| symbol.as_str().map(Box::from)).collect();
        let symbols = symbols.ok_or_else(|| self.attribute("symbols"))?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = symbols.iter().find(|symbol| !seen.insert(&**symbol)) {
            return Err(self.invalid(SchemaProblem::Repeated(twice.to_string())));
        }
        let index = self.add(Shape::Enum { name: name.as_str().into(), symbols })?;
        self.know(&name, index)
    }

    fn fixed(&mut self, object: &Map<String, Value>, namespace: &str, logical: &str) -> Parsed {
        let (name, _) = self.define(object, namespace)?;
        let size = object.get("size").and_then(Value::as_u64);
        let size = size.and_then(|size| usize::try_from(size).ok());
        let size = size.ok_or_else(|| self.attribute("size"))?;
        let meaning = bytes_meaning(logical, object, Some(size));
        let index = self.add(Shape::Fixed { name: name.as_str().into(), size, meaning })?;
        self.know(&name, index)
    }

    /// Returns the full name that an object gives to its type, and the namespace inside.
    fn define(
        &self,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<(String, String), AvroSchemaError> {
        let name = object.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| self.attribute("name"))?;
        let given = object.get("namespace").and_then(Value::as_str);
        let full = full_name(name, given.unwrap_or(namespace));
        let inside = full.rsplit_once('.').map_or("", |(inside, _)| inside).to_owned();
        Ok((full, inside))
    }

    fn know(&mut self, name: &str, index: usize) -> Parsed {
        if self.names.insert(name.to_owned(), index).is_some() {
            return Err(self.invalid(SchemaProblem::Repeated(name.to_owned())));
        }
        Ok(index)
    }

    fn add(&mut self, shape: Shape) -> Parsed {
        if NODES_MAX <= self.nodes.len() {
            return Err(AvroSchemaError::TooManyTypes);
        }
        let width = shape.width(&self.nodes);
        self.nodes.push(Node { shape, width });
        Ok(self.nodes.len() - 1)
    }

    fn attribute(&self, name: &'static str) -> AvroSchemaError {
        self.invalid(SchemaProblem::Attribute(name))
    }

    fn invalid(&self, problem: SchemaProblem) -> AvroSchemaError {
        let place =
            if self.place.is_empty() { "the schema".to_owned() } else { self.place.join(": ") };
        AvroSchemaError::Invalid { place, problem }
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.trim_start_matches('.').to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

// A logical type that is unknown, or does not fit its type, means nothing: so the specification.

fn int_meaning(logical: &str) -> WholeMeaning {
    match logical {
        "date" => WholeMeaning::Date,
        _ => WholeMeaning::Number,
    }
}

fn long_meaning(logical: &str) -> WholeMeaning {
    match logical {
        "timestamp-millis" | "local-timestamp-millis" => WholeMeaning::TimestampMillis,
        "timestamp-micros" | "local-timestamp-micros" => WholeMeaning::TimestampMicros,
        "timestamp-nanos" | "local-timestamp-nanos" => WholeMeaning::TimestampNanos,
        _ => WholeMeaning::Number,
    }
}

fn bytes_meaning(logical: &str, object: &Map<String, Value>, size: Option<usize>) -> BytesMeaning {
    match logical {
        "decimal" => {
            let scale = object.get("scale").map_or(Some(0), Value::as_u64);
            match scale.and_then(|scale| usize::try_from(scale).ok()) {
                Some(scale) if scale <= SCALE_MAX => BytesMeaning::Decimal { scale },
                Some(_) | None => BytesMeaning::Bytes,
            }
        }
        "uuid" if size == Some(16) => BytesMeaning::Uuid,
        _ => BytesMeaning::Bytes,
    }
}
