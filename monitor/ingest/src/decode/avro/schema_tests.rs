//! What texts become schemas, and what they are called.

use super::schema::SCHEMA_BYTES_MAX;
use super::*;

#[test]
fn a_text_that_is_no_schema_is_refused_with_its_place() {
    for (schema, expected) in [
        ("{", "the schema is not JSON: EOF while parsing an object at line 1 column 1"),
        ("7", "the schema: expected a type: a name, an object or a list"),
        ("\"other\"", "the schema: no type is named `other` up to here"),
        (r#"{"type": "array"}"#, "the schema: `items` is absent or not what it should be"),
        (r#"["int", ["null"]]"#, "the schema: a union is directly inside of a union"),
        (
            r#"{"type": "fixed", "name": "F", "size": -1}"#,
            "the schema: `size` is absent or not what it should be",
        ),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["a", "a"]}"#,
            "the schema: `a` is there twice",
        ),
        (
            r#"{"type": "record", "name": "n.R", "fields": [{"name": "f", "type": "S"}]}"#,
            "n.R: f: no type is named `n.S` up to here",
        ),
        (
            r#"{"type": "record", "name": "R", "fields": [
                {"name": "f", "type": "int"}, {"name": "f", "type": "R"}]}"#,
            "R: `f` is there twice",
        ),
        (
            r#"[{"type": "fixed", "name": "F", "size": 1},
                {"type": "fixed", "name": "F", "size": 1}]"#,
            "the schema: `F` is there twice",
        ),
    ] {
        assert_eq!(AvroSchema::parse(schema, &[]).unwrap_err().to_string(), expected);
    }
    let long = " ".repeat(SCHEMA_BYTES_MAX + 1);
    assert_eq!(
        AvroSchema::parse(&long, &[]).unwrap_err(),
        AvroSchemaError::TooLong { bytes: SCHEMA_BYTES_MAX + 1 }
    );
    let many = format!("[{}\"int\"]", "\"int\",".repeat(1 << 16));
    assert_eq!(AvroSchema::parse(&many, &[]).unwrap_err(), AvroSchemaError::TooManyTypes);
}

#[test]
fn fingerprints_are_those_of_the_specification() {
    for (schema, expected) in [
        ("\"null\"", 7_195_948_357_588_979_594_i64),
        ("\"boolean\"", -6_970_731_678_124_411_036),
        ("\"int\"", 8_247_732_601_305_521_295),
        ("\"string\"", -8_142_146_995_180_207_161),
    ] {
        let found = AvroSchema::parse(schema, &[]).unwrap().fingerprint();
        assert_eq!(found.map(u64::cast_signed), Some(expected), "{schema}");
    }
}
