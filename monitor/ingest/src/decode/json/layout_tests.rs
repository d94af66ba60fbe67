//! Which documents a layout takes, and which layouts are kept.

use std::sync::Arc;

use super::layout::{LAYOUTS_MAX, Layouts};
use super::tests::{feature, path, segment};
use crate::decode::builders::{Cell, Span};
use crate::decode::plan::Plan;
use crate::decode::rows::Rows;
use crate::schema::{FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField};

/// Two models; `f.a` is a feature and a segment of the first.
fn plan() -> Plan {
    use FeatureKind::{Categorical, Float64};
    let first = ModelSchema {
        name: "first".into(),
        version: VersionField::Path(path("v")),
        prediction_id: None,
        features: vec![feature("f.a", Categorical), feature("f.b", Float64)],
        segments: vec![segment("f.a")],
    };
    let second = ModelSchema {
        name: "second".into(),
        version: VersionField::Fixed("9".into()),
        prediction_id: None,
        features: vec![feature("f.b.x", Float64)],
        segments: vec![],
    };
    let by = Some(path("m"));
    let models = vec![first, second];
    let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, by, models).unwrap();
    Plan::new(&Arc::new(schema))
}

/// Layouts, each of which learned one of the documents.
fn learned(documents: &[(&str, usize, &str)]) -> Layouts {
    let plan = plan();
    let mut layouts = Layouts::new(&plan);
    for &(document, model, version) in documents {
        learn(&mut layouts, &plan, document, (model, version));
    }
    layouts
}

/// Learns a document's layout, whatever pause there is.
fn learn(layouts: &mut Layouts, plan: &Plan, document: &str, row: (usize, &str)) {
    for _ in 0..=layouts.pause {
        layouts.learn(plan, document, 0..document.len(), row);
    }
}

/// Returns the cells of the row that a layout makes of the document.
fn read(layouts: &mut Layouts, document: &str) -> Option<Vec<Cell>> {
    let mut rows = Rows::default();
    let is_read = layouts.read(&plan(), (document, &(0..document.len())), &mut rows, 1_000);
    assert_eq!(is_read, rows.heads.len() == 1);
    assert!(is_read || rows.cells.is_empty() && rows.added.is_empty());
    is_read.then_some(rows.cells)
}

const FIRST: &str = r#"{"m":"first","v":"1","t":5,"f":{"a":"x","b":1.5,"c":[1,2]},"d":0}"#;

#[test]
fn what_differs_in_values_alone_is_read_by_the_layout() {
    let mut layouts = learned(&[(FIRST, 0, "1")]);
    for document in [
        FIRST,
        r#"{"m":"first","v":"1","t":1364806800000,"f":{"a":"yy","b":-2e2,"c":{}},"d":"\n"}"#,
        r#"{"m":"first","v":"1","t":5,"f":{"a":null,"b":null,"c":null},"d":[[]]}"#,
        r#"{"m":"first","v":"1","t":5,"f":{"a":true,"b":0,"c":""},"d":{"m":"second"}}"#,
    ] {
        assert!(read(&mut layouts, document).is_some(), "{document}");
    }
    let row = read(&mut layouts, FIRST).unwrap();
    let text = Cell::Text(Span::Payload(37..38));
    assert_eq!(row, [text.clone(), Cell::Float64(1.5), text]);
}

#[test]
fn what_differs_otherwise_or_would_be_refused_is_left_to_the_walk() {
    let mut layouts = learned(&[(FIRST, 0, "1")]);
    for document in [
        r#"{"m":"second","v":"1","t":5,"f":{"a":"x","b":1.5,"c":[1,2]},"d":0}"#,
        r#"{"m":"first","v":"2","t":5,"f":{"a":"x","b":1.5,"c":[1,2]},"d":0}"#,
        r#"{"m":"first","v":"1","t":"5","f":{"a":"x","b":1.5,"c":[1,2]},"d":0}"#,
        r#"{"m":"first","v":"1","t":5,"f":{"a":"\n","b":1.5,"c":[1,2]},"d":0}"#,
        r#"{"m":"first","v":"1","t":5,"f":{"a":"x","b":"1","c":[1,2]},"d":0}"#,
        r#"{"m":"first","v":"1","t":5,"f":{"a":"x","b":1e999,"c":[1,2]},"d":0}"#,
        r#"{"m":"first","v":"1","t":5,"f":{"b":1.5,"a":"x","c":[1,2]},"d":0}"#,
        r#"{"m":"first","v":"1","t":5,"f":{"a":"x","b":1.5,"c":[1,2}},"d":0}"#,
        r#"{"m":"first","v":"1","t":5,"f":{"a":"x","b":1.5,"c":[1,2]},"d":0} "#,
        r#"{"m":"first","v":"1","t":5,"f":{"a":"x","b":1.5,"c":[1,2]},"d":0"#,
        r#"{"m":"first","v":"1","t":null,"f":{"a":"x","b":1.5,"c":[1,2]},"d":0}"#,
    ] {
        assert_eq!(read(&mut layouts, document), None, "{document}");
    }
}

#[test]
fn null_where_paths_lead_on_is_the_only_value_without_values_inside() {
    let document = r#"{"m":"second","t":5,"f":null}"#;
    let mut layouts = learned(&[(document, 1, "9")]);
    assert_eq!(read(&mut layouts, document), Some(vec![Cell::Null]));
    assert_eq!(read(&mut layouts, r#"{"m":"second","t":5,"f":5}"#), None);
    assert_eq!(read(&mut layouts, r#"{"m":"second","t":5,"f":{}}"#), None);
}

#[test]
fn what_more_than_a_layout_decides_is_not_learned() {
    for (document, model) in [
        (r#"{"m":"first","v":"1","t":5,"t":6}"#, 0),
        (r#"{"m":"first","v":"1","\u0074":5}"#, 0),
        (r#"{"m":"first","v":"1","t":5,"f":{"a":[]}}"#, 0),
    ] {
        assert!(learned(&[(document, model, "1")]).kept.is_empty(), "{document}");
    }
    // Neither model looks there.
    let twice = r#"{"m":"second","t":5,"d":1,"d":2,"f":{"a":[]}}"#;
    assert_eq!(learned(&[(twice, 1, "9")]).kept.len(), 1);
}

#[test]
fn the_layout_that_was_not_used_for_longest_goes() {
    let document = |number: usize| format!(r#"{{"m":"second","key{number}":0,"t":5}}"#);
    let documents: Vec<String> = (0..=LAYOUTS_MAX).map(document).collect();
    let known: Vec<_> = documents.iter().map(|it| (&**it, 1, "9")).collect();
    let mut layouts = learned(&known[..LAYOUTS_MAX]);
    assert!(read(&mut layouts, &documents[0]).is_some());
    learn(&mut layouts, &plan(), &documents[LAYOUTS_MAX], (1, "9"));
    assert_eq!(layouts.kept.len(), LAYOUTS_MAX);
    let taken: Vec<bool> =
        documents.iter().map(|document| read(&mut layouts, document).is_some()).collect();
    let expected: Vec<bool> = (0..=LAYOUTS_MAX).map(|number| number != 1).collect();
    assert_eq!(taken, expected);
}

#[test]
fn producers_that_take_turns_are_expected_in_turn() {
    let documents = [r#"{"m":"second","a":0,"t":5}"#, r#"{"m":"second","b":0,"t":5}"#];
    let mut layouts = learned(&documents.map(|it| (it, 1, "9")));
    for _ in 0..3 {
        for document in documents {
            assert!(read(&mut layouts, document).is_some());
        }
    }
    assert_eq!(layouts.kept.iter().map(|it| it.next).collect::<Vec<_>>(), [1, 0]);
}

/// Paths of other models lead into the value, where the walk looks at more than the grammar.
#[test]
fn where_paths_of_other_models_lead_only_what_the_walk_passes_over_is_taken() {
    let document = |inside: &str| format!(r#"{{"m":"first","v":"1","t":5,"g":{{"x":{inside}}}}}"#);
    let other = ModelSchema {
        name: "second".into(),
        version: VersionField::Fixed("9".into()),
        prediction_id: None,
        features: vec![feature("g.x.y.z", FeatureKind::Float64)],
        segments: vec![],
    };
    let first = ModelSchema {
        name: "first".into(),
        version: VersionField::Path(path("v")),
        prediction_id: None,
        features: vec![feature("f", FeatureKind::Float64)],
        segments: vec![],
    };
    let models = vec![first, other];
    let schema =
        SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, Some(path("m")), models).unwrap();
    let plan = Plan::new(&schema);
    for (known, others) in [
        (r#"{"y":null}"#, [r#"{"y":1e400}"#, r#"{"y":"\ud800"}"#, r#"{"y":{"\ud800":1}}"#]),
        (r#"{"y":{"z":1}}"#, [r#"{"y":1e400}"#, r#""\ud800""#, r#"{"y":{"\ud800":1}}"#]),
    ] {
        let mut layouts = Layouts::new(&plan);
        learn(&mut layouts, &plan, &document(known), (0, "1"));
        assert!(read(&mut layouts, &document(known)).is_some(), "{known}");
        for other in others {
            assert_eq!(read(&mut layouts, &document(other)), None, "{other}");
        }
    }
}

#[test]
fn a_value_that_is_left_to_the_walk_makes_no_second_layout() {
    let escaped = FIRST.replace(r#""x""#, r#""\n""#);
    let layouts = learned(&[(FIRST, 0, "1"), (&escaped, 0, "1")]);
    assert_eq!(layouts.kept.len(), 1);
}

#[test]
fn a_layout_has_a_bound() {
    let document = |keys: usize| {
        let keys: Vec<String> = (0..keys).map(|key| format!(r#""k{key}":0"#)).collect();
        format!(r#"{{"m":"second","t":5,{}}}"#, keys.join(","))
    };
    let (fits, does_not) = (document(2_000), document(4_000));
    assert_eq!(learned(&[(&fits, 1, "9")]).kept.len(), 1);
    assert_eq!(learned(&[(&does_not, 1, "9")]).kept.len(), 0);
}

#[test]
fn one_value_may_be_for_several_things() {
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Path(path("v")),
        prediction_id: None,
        features: vec![feature("t", FeatureKind::Integer), feature("t", FeatureKind::Float32)],
        segments: vec![segment("t")],
    };
    let mut model = model;
    model.features[1].name = "again".into();
    let schema =
        SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]).unwrap();
    let plan = Plan::new(&schema);
    let mut layouts = Layouts::new(&plan);
    learn(&mut layouts, &plan, r#"{"v":2,"t":5}"#, (0, "2"));
    let row = read(&mut layouts, r#"{"v":2,"t":17}"#);
    let segment = Cell::Text(Span::Payload(11..13));
    assert_eq!(row, Some(vec![Cell::Integer(17), Cell::Float32(17.0), segment]));
    for other in [r#"{"v":25,"t":17}"#, r#"{"v":2.0,"t":17}"#, r#"{"v":"2","t":17}"#] {
        assert_eq!(read(&mut layouts, other), None, "{other}");
    }
}

#[test]
fn where_no_layout_serves_few_documents_are_learned_from() {
    let plan = plan();
    let mut layouts = Layouts::new(&plan);
    let document = |number: usize| format!(r#"{{"m":"second","key{number}":0,"t":5}}"#);
    let mut lessons = 0;
    for number in 0..2_000 {
        let document = document(number);
        assert_eq!(read(&mut layouts, &document), None);
        lessons += usize::from(layouts.pause == 0);
        layouts.learn(&plan, &document, 0..document.len(), (1, "9"));
    }
    assert!(lessons < 20, "{lessons}");
    assert_eq!(layouts.misses, 2_000);
    // As soon as one serves again, all are.
    let regular = document(0);
    let taken = (0..600).filter(|_| {
        let is_taken = read(&mut layouts, &regular).is_some();
        if !is_taken {
            layouts.learn(&plan, &regular, 0..regular.len(), (1, "9"));
        }
        is_taken
    });
    assert!(300 < taken.count());
}
