//! Types that a schema has, and descriptors that are none.

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::FileDescriptorSet;
use prost_reflect::prost_types::field_descriptor_proto::Type;

use super::schema::{DESCRIPTORS_BYTES_MAX, ProtobufSchema};
use super::tests::{PROTO3, descriptors, schema};
use super::wire::Wire;

#[test]
fn messages_of_a_file_are_found_by_name_and_by_place() {
    let text = format!(
        "{PROTO3} package shop.v1; message A {{ message B {{ message C {{}} }} message D {{}} }}
         message E {{}}"
    );
    let schema = schema(&text);
    let at = |places: &[usize]| schema.message_at("test.proto", places).map(|it| schema.name(it));
    assert_eq!(at(&[0]), Some("shop.v1.A"));
    assert_eq!(at(&[1]), Some("shop.v1.E"));
    assert_eq!(at(&[0, 0, 0]), Some("shop.v1.A.B.C"));
    assert_eq!(at(&[0, 1]), Some("shop.v1.A.D"));
    assert_eq!((at(&[]), at(&[2]), at(&[0, 2])), (None, None, None));
    assert_eq!(schema.message_at("other.proto", &[0]), None);
    assert_eq!(schema.message("shop.v1.A.D"), schema.message_at("test.proto", &[0, 1]));
    assert_eq!(schema.message("A"), None);
    assert!(2 * "shop.v1.A.B.C".len() < schema.bytes());
}

#[test]
fn descriptors_that_are_none_are_refused() {
    let problem = |bytes: &[u8]| ProtobufSchema::parse(bytes).unwrap_err().to_string();
    assert_eq!(problem(b""), "it holds the descriptors of no file");
    assert_eq!(problem(b"syntax = \"proto3\";"), "it is no `FileDescriptorSet`");
    let long = vec![0; DESCRIPTORS_BYTES_MAX + 1];
    assert_eq!(problem(&long), "the descriptors have 8388609 bytes, more than 8388608");
    // A file whose import is not in the set.
    let text = format!(
        "{PROTO3} import \"google/protobuf/timestamp.proto\";
         message M {{ google.protobuf.Timestamp t = 1; }}"
    );
    let all = descriptors(&text);
    let first = Wire::new(&all, 0..all.len()).tag().map(|_| ()).is_ok();
    assert!(first, "a set is files");
    let mut bytes = Wire::new(&all, 1..all.len());
    let start = bytes.counted().unwrap().end;
    assert_eq!(
        problem(&all[start..]),
        "`M.t` is of type `google.protobuf.Timestamp`, which no file of the set defines"
    );
}

/// No compiler makes one: some readers take it for a map, others for a list of messages.
#[test]
fn a_map_whose_entries_are_groups_is_refused() {
    let text = format!("{PROTO3} message M {{ map<string, double> a = 1; }} message Other {{}}");
    let mut set = FileDescriptorSet::decode(&descriptors(&text)[..]).unwrap();
    set.file[0].message_type[0].field[0].set_type(Type::Group);
    let problem = |set: &FileDescriptorSet| {
        ProtobufSchema::parse(&set.encode_to_vec()).unwrap_err().to_string()
    };
    assert_eq!(problem(&set), "`M.a` is a map whose entries are groups");
    // Entries of another message as well.
    let field = set.file[0].message_type[0].field.remove(0);
    set.file[0].message_type[1].field.push(field);
    assert_eq!(problem(&set), "`Other.a` is a map whose entries are groups");
}

/// Entries of maps are messages to some who count them, and none to others.
#[test]
fn a_place_that_can_mean_two_messages_means_none() {
    let text = format!(
        "{PROTO3} message A {{ message B {{}} map<string, B> m = 1; message C {{}} message D {{}} }}
         message E {{ map<string, A> m = 1; message F {{ message G {{}} }} }}"
    );
    let schema = schema(&text);
    let at = |places: &[usize]| schema.message_at("test.proto", places).map(|it| schema.name(it));
    assert_eq!(at(&[0, 0]), Some("A.B"), "before the map");
    // The second is the entry to those who count it, and nobody writes one.
    assert_eq!(at(&[0, 1]), Some("A.C"));
    assert_eq!(at(&[0, 2]), None, "C or D");
    assert_eq!(at(&[0, 3]), Some("A.D"), "there are three without the entry");
    assert_eq!((at(&[1, 0]), at(&[1, 1])), (Some("E.F"), Some("E.F")));
    assert_eq!((at(&[1, 0, 0]), at(&[1, 1, 0])), (Some("E.F.G"), Some("E.F.G")));
    assert_eq!(at(&[0, 4]), None);
}
