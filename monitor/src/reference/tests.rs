//! References built from files, compared with what the files hold.

use driftd_detectors::{CategoricalReference, FeatureReference, NumericReference, Precision};
use polars::prelude::{
    Column, DataFrame, DataType, IntoColumn as _, NamedFrom as _, ParquetWriter, Series, TimeUnit,
};
use tempfile::TempDir;

use super::*;

fn args(folder: &TempDir, inputs: &[&str]) -> BuildArgs {
    let input = inputs.iter().map(|it| folder.path().join(it)).collect();
    BuildArgs::of_all_rows(input, folder.path().join("out/profile.json"), "m", "1")
}

fn write_csv(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).unwrap();
}

fn write_parquet(folder: &TempDir, name: &str, columns: Vec<Column>) {
    let rows = columns[0].len();
    let mut frame = DataFrame::new(rows, columns).unwrap();
    let file = fs::File::create(folder.path().join(name)).unwrap();
    ParquetWriter::new(file).finish(&mut frame).unwrap();
}

fn config(features: &str) -> Config {
    config_with_segments(features, "[]")
}

fn config_with_segments(features: &str, segments: &str) -> Config {
    let text = format!(
        r#"{{"name": "job",
            "sources": [{{"topic": "t", "start": "earliest", "event_time": {{"path": "meta.at"}}}}],
            "models": [{{"name": "m", "source": "t", "version": "1", "references": "m.json",
                         "window": {{"length": "1h"}}, "features": {features},
                         "segments": {segments}}}]}}"#
    );
    driftd_core::config::load(&text, &|_| None).unwrap()
}

fn numeric<'a>(profile: &'a Profile, name: &str) -> &'a NumericReference {
    match &profile.features[name] {
        FeatureReference::Numeric(reference) => reference,
        FeatureReference::Categorical(_) => panic!("`{name}` is categorical"),
    }
}

fn categorical<'a>(profile: &'a Profile, name: &str) -> &'a CategoricalReference {
    match &profile.features[name] {
        FeatureReference::Categorical(reference) => reference,
        FeatureReference::Numeric(_) => panic!("`{name}` is numeric"),
    }
}

fn levels(reference: &CategoricalReference) -> Vec<(&str, u64)> {
    let names = reference.levels.names().iter().map(AsRef::as_ref);
    names.zip(reference.counts.levels.iter().copied()).collect()
}

fn message(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

#[test]
fn every_value_of_a_file_is_counted_once() {
    let folder = TempDir::new().unwrap();
    let floats =
        [Some(2.0), None, Some(f64::NAN), Some(1.0), Some(f64::INFINITY), Some(f64::NEG_INFINITY)];
    write_parquet(
        &folder,
        "a.parquet",
        vec![
            Series::new("f64".into(), floats).into_column(),
            Series::new("f32".into(), [0.1_f32, 0.1, 0.2, 0.3, 0.3, 0.3]).into_column(),
            Series::new("i64".into(), [3_i64, 1, 2, 2, 2, 1]).into_column(),
            Series::new(
                "text".into(),
                [Some("b"), Some("a"), None, Some("b"), Some(""), Some("b")],
            )
            .into_column(),
            Series::new("flag".into(), [Some(true), None, None, Some(true), None, None])
                .into_column(),
        ],
    );
    let profile = build(&args(&folder, &["a.parquet"]), None).unwrap();
    assert_eq!((profile.model.as_str(), profile.version.as_str(), profile.rows), ("m", "1", 6));
    let wide = numeric(&profile, "f64");
    assert_eq!(wide.grid.edges(), [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0]);
    let counts = &wide.counts;
    assert_eq!((counts.null, counts.nan, counts.neg_inf, counts.pos_inf), (1, 1, 1, 1));
    assert_eq!(counts.present(), 2);
    let narrow = numeric(&profile, "f32");
    assert_eq!(narrow.grid.precision(), Precision::F32);
    assert_eq!(narrow.grid.bin_counts(&narrow.counts.cells).iter().sum::<u64>(), 6);
    let edge = narrow.grid.edges().iter().position(|edge| *edge == f64::from(0.3_f32)).unwrap();
    assert_eq!(
        narrow.counts.cells.get(2 * edge + 1),
        Some(3),
        "values equal to an edge have their own cell"
    );
    assert_eq!(numeric(&profile, "i64").counts.present(), 6);
    let text = categorical(&profile, "text");
    assert_eq!(levels(text), [("", 1), ("a", 1), ("b", 3)]);
    assert_eq!(text.counts.null, 1);
    let flag = categorical(&profile, "flag");
    assert_eq!(levels(flag), [("false", 0), ("true", 2)]);
    assert_eq!(flag.counts.null, 4);
}

#[test]
fn files_of_both_formats_add_up() {
    let folder = TempDir::new().unwrap();
    let x = Series::new("x".into(), [1.0, 2.0]).into_column();
    let c = Series::new("c".into(), ["7", "8"]).into_column();
    write_parquet(&folder, "a.parquet", vec![x, c]);
    write_csv(&folder, "b.csv", "c,unused,x\n7,0,3\n,0,\n07,0,4\n");
    let config = config(
        r#"[{"name": "x", "path": "features.x", "type": "float64"},
            {"name": "code", "path": "features.c", "type": "categorical"}]"#,
    );
    let mut args = args(&folder, &["a.parquet", "b.csv"]);
    args.model = None;
    args.version = None;
    let profile = build(&args, Some(&config)).unwrap();
    assert_eq!(profile.rows, 5);
    let x = &numeric(&profile, "x").counts;
    assert_eq!((x.present(), x.null), (4, 1));
    let code = categorical(&profile, "code");
    assert_eq!(levels(code), [("07", 1), ("7", 2), ("8", 1)]);
    assert_eq!(code.counts.null, 1);
    assert_eq!(profile.origin.len(), 2);
    let read = Profile::decode(&fs::read(&args.output).unwrap()).unwrap();
    assert_eq!(read.digest, profile.digest);
}

#[test]
fn segments_are_counted_in_the_cells_of_the_whole_sample() {
    let folder = TempDir::new().unwrap();
    let column = |name: &str, values: [Option<&str>; 3]| Series::new(name.into(), values);
    write_parquet(
        &folder,
        "a.parquet",
        vec![
            Series::new("x".into(), [Some(1.0), None, Some(2.0)]).into_column(),
            column("c", [Some("a"), Some("b"), None]).into_column(),
            column("site", [Some("07"), Some("7"), None]).into_column(),
        ],
    );
    write_csv(&folder, "b.csv", "x,c,site\n3,a,07\n,,07\n4,b,12\nnan,b,\n");
    let config = config_with_segments(
        r#"[{"name": "x", "path": "x", "type": "float32"},
            {"name": "c", "path": "c", "type": "categorical"},
            {"name": "number", "path": "site", "type": "integer"}]"#,
        r#"[{"name": "site", "path": "meta.site", "values": ["7", "07", "99"]},
            {"name": "c", "path": "c", "values": ["a", "b"]}]"#,
    );
    let args = args(&folder, &["a.parquet", "b.csv"]);
    let profile = build(&args, Some(&config)).unwrap();
    let rows: Vec<_> = profile.segments.iter().map(|(id, it)| (id.as_str(), it.rows)).collect();
    let expected = [
        ("c=__other__", 2),
        ("c=a", 2),
        ("c=b", 3),
        ("site=07", 3),
        ("site=7", 1),
        ("site=__other__", 3),
    ];
    assert_eq!(rows, expected, "a value that the sample lacks has no reference");
    let part = |segment: &str, feature: &str| {
        let found = profile.segments.iter().find(|(id, _)| id.as_str() == segment);
        found.unwrap().1.features[feature].clone()
    };
    let FeatureReference::Numeric(x) = part("site=07", "x") else { panic!("x is numeric") };
    assert_eq!(x.grid, numeric(&profile, "x").grid);
    assert_eq!((x.counts.present(), x.counts.null, x.counts.nan), (2, 1, 0));
    let FeatureReference::Numeric(x) = part("site=__other__", "x") else { panic!("x is numeric") };
    assert_eq!((x.counts.present(), x.counts.null, x.counts.nan), (2, 0, 1));
    let FeatureReference::Categorical(c) = part("site=__other__", "c") else {
        panic!("c has levels")
    };
    assert_eq!((levels(&c), c.counts.null), (vec![("a", 0), ("b", 2)], 1));
    // The parts of each segmentation add up to the sample, in every feature.
    for (name, whole) in &profile.features {
        for segmentation in ["site=", "c="] {
            let parts =
                profile.segments.iter().filter(|(id, _)| id.as_str().starts_with(segmentation));
            let parts: Vec<_> = parts.map(|(_, sample)| &sample.features[name]).collect();
            let sum = |count: &dyn Fn(&FeatureReference) -> u64| {
                parts.iter().map(|it| count(it)).sum::<u64>()
            };
            assert_eq!(sum(&FeatureReference::rows), whole.rows(), "{name} by {segmentation}");
            assert_eq!(
                sum(&FeatureReference::present),
                whole.present(),
                "{name} by {segmentation}"
            );
        }
    }
    let mut out = Vec::new();
    describe(&profile, None, &mut out).unwrap();
    let told = String::from_utf8(out).unwrap();
    assert!(told.contains("segment site=07, 3 rows (42.9%)\n"), "{told}");
}

/// Sites and their rows, in two files: what a file holds first says nothing.
#[test]
fn the_most_frequent_values_get_segments_of_their_own() {
    let folder = TempDir::new().unwrap();
    let long = "x".repeat(200);
    let sites = [("b", 3), ("a", 3), ("d", 2), ("c", 2), ("e", 1), ("__other__", 9), (&long, 9)];
    let rows = |sites: &mut dyn Iterator<Item = &(&str, usize)>| -> String {
        let lines = sites.flat_map(|(site, rows)| vec![format!("1,{site}\n"); *rows]);
        format!("x,site\n2,\n{}", lines.collect::<String>())
    };
    let (first, second) = sites.split_at(3);
    for (name, text) in [
        ("whole.csv", rows(&mut sites.iter())),
        ("back.csv", rows(&mut sites.iter().rev())),
        ("first.csv", rows(&mut first.iter())),
        ("second.csv", rows(&mut second.iter().rev())),
    ] {
        write_csv(&folder, name, &text);
    }
    let chosen = |top: usize, inputs: &[&str]| {
        let config = config_with_segments(
            r#"[{"name": "x", "path": "x", "type": "float64"}]"#,
            &format!(r#"[{{"name": "site", "path": "site", "top": {top}}}]"#),
        );
        let profile = build(&args(&folder, inputs), Some(&config)).unwrap();
        let tops: Vec<_> = profile.segments.values().map(|it| it.top).collect();
        assert!(tops.iter().all(|it| *it == Some(u32::try_from(top).unwrap())), "{tops:?}");
        let segment = |(id, it): (&SegmentId, &SegmentSample)| (id.to_string(), it.rows);
        (profile.segments.iter().map(segment).collect::<Vec<_>>(), profile)
    };
    let (rows, profile) = chosen(3, &["whole.csv"]);
    // Of `c` and `d` the first in byte order. Without a value, or with one that cannot be a name,
    // a row is in the segment of all others.
    let expected = [("site=__other__", 22), ("site=a", 3), ("site=b", 3), ("site=c", 2)];
    assert_eq!(rows, expected.map(|(id, rows)| (id.to_owned(), rows)));
    assert_eq!(chosen(3, &["back.csv"]).0, rows);
    let mut told = Vec::new();
    describe(&profile, None, &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("segment site=c, 2 rows (6.7%), by top 3\n"), "{told}");
    // One row without a site more.
    let (parts, _) = chosen(3, &["second.csv", "first.csv"]);
    assert_eq!((parts[0].1, &parts[1..]), (23, &rows[1..]));
    let (all, _) = chosen(1_000, &["whole.csv"]);
    assert_eq!(all.len(), 6, "{all:?}");
}

#[test]
fn only_rows_of_the_asked_time_are_taken() {
    let at = |text: &str| Some(Timestamp::parse(text).unwrap());
    let check = |name: &str, folder: &TempDir, format: Option<TimeUnitArg>| {
        let mut args = args(folder, &[name]);
        args.event_time = Some("at".into());
        args.time_format = format;
        args.from = at("1970-01-01T00:00:01Z");
        args.until = at("1970-01-01T00:00:03Z");
        let profile = build(&args, None).unwrap();
        assert_eq!(profile.rows, 2, "{name}");
        assert_eq!(numeric(&profile, "x").grid.edges().first(), Some(&1.0));
        assert_eq!(profile.origin[0].until, args.until);
        args.from = None;
        args.last = Some(1_000);
        assert_eq!(build(&args, None).unwrap().rows, 1, "{name}");
    };
    let folder = TempDir::new().unwrap();
    let x = || Series::new("x".into(), [0.0, 1.0, 2.0, 3.0, 4.0]).into_column();
    let micros = [Some(999_999_i64), Some(1_000_000), Some(2_999_999), Some(3_000_000), None];
    let micros = Series::new("at".into(), micros);
    let zoned = DataType::Datetime(TimeUnit::Microseconds, None);
    let zoned = micros.cast(&zoned).unwrap().into_column();
    write_parquet(&folder, "datetime.parquet", vec![zoned, x()]);
    check("datetime.parquet", &folder, None);
    write_parquet(&folder, "epoch.parquet", vec![micros.into_column(), x()]);
    check("epoch.parquet", &folder, Some(TimeUnitArg::UnixMicros));
    write_csv(
        &folder,
        "text.csv",
        "at,x\n1970-01-01T00:00:00.999Z,0\n1970-01-01T00:00:01Z,1\n1970-01-01T01:00:02.9+01:00,2\n\
         1970-01-01T00:00:03Z,3\nno time,4\n",
    );
    check("text.csv", &folder, None);
}

#[test]
fn the_most_frequent_levels_stay_when_there_are_too_many() {
    let folder = TempDir::new().unwrap();
    let levels: Vec<_> = (0..4_100).map(|level| format!("l{level:05}\nl{level:05}")).collect();
    write_csv(&folder, "a.csv", &format!("c\n{}\nl04099\n", levels.join("\n")));
    let profile = build(&args(&folder, &["a.csv"]), None).unwrap();
    let reference = categorical(&profile, "c");
    assert_eq!(reference.levels.names().len(), 4_096);
    assert_eq!(reference.levels.names().last().map(AsRef::as_ref), Some("l04099"));
    assert_eq!(reference.levels.names()[4_094].as_ref(), "l04094");
    assert_eq!(reference.counts.unseen, 8);
    assert_eq!(reference.counts.rows(), 8_201);
}

#[test]
fn the_rows_of_rare_levels_are_told_together() {
    let folder = TempDir::new().unwrap();
    let rare: Vec<_> = (0..60).map(|level| format!("r{level:02}")).collect();
    let rows = format!("c,s\n{}{}", "a,x\n".repeat(900), rare.join(",y\n"));
    write_csv(&folder, "a.csv", &format!("{rows},y\n"));
    let config = config_with_segments(
        r#"[{"name": "c", "path": "c", "type": "categorical"}]"#,
        r#"[{"name": "s", "path": "s", "values": ["x", "y"]}]"#,
    );
    let profile = build(&args(&folder, &["a.csv"]), Some(&config)).unwrap();
    let reference = categorical(&profile, "c");
    assert_eq!((levels(reference), reference.counts.unseen), (vec![("a", 900)], 60));
    let (_, rare) = profile.segments.iter().find(|(id, _)| id.as_str() == "s=y").unwrap();
    let FeatureReference::Categorical(rare) = &rare.features["c"] else { panic!("it has levels") };
    assert_eq!((levels(rare), rare.counts.unseen), (vec![("a", 0)], 60));
    let told = |only| {
        let mut out = Vec::new();
        describe(&profile, only, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let all = told(None);
    assert!(all.contains("a 93.8% (1 levels, 6.2% in rare ones)\n"), "{all}");
    let one = told(Some("c"));
    assert!(one.contains("(levels too rare to name)                  60   6.25%\n"), "{one}");
}

#[test]
fn csv_is_read_as_a_replay_reads_it() {
    let folder = TempDir::new().unwrap();
    write_csv(&folder, "a.csv", "c,n,b\na,5.0,\"\"\n\"\",7,true\n,1e3,false\n\"a\",,\n");
    let features = r#"[{"name": "c", "path": "c", "type": "categorical"},
                       {"name": "n", "path": "n", "type": "integer"},
                       {"name": "b", "path": "b", "type": "boolean"}]"#;
    let profile = build(&args(&folder, &["a.csv"]), Some(&config(features))).unwrap();
    let c = categorical(&profile, "c");
    assert_eq!((levels(c), c.counts.null), (vec![("a", 2)], 2), "no field is empty text");
    assert_eq!(categorical(&profile, "b").counts.null, 2);
    let n = numeric(&profile, "n");
    assert_eq!((n.counts.present(), n.counts.null), (3, 1));
    assert_eq!(n.grid.edges().last(), Some(&1_000.0));
    write_csv(&folder, "b.csv", "c,n,b\na,1.5,true\n");
    let error = message(&build(&args(&folder, &["b.csv"]), Some(&config(features))).unwrap_err());
    assert!(error.contains("`1.5` is no whole number: configure it as float64"), "{error}");
}

#[test]
fn errors_say_what_is_missing_and_what_to_do() {
    let folder = TempDir::new().unwrap();
    write_csv(&folder, "a.csv", "id,x,y\na,1,\nb,2,\n");
    let file = folder.path().join("a.csv");
    let file = file.display();
    let check = |change: &dyn Fn(&mut BuildArgs), config: Option<&Config>, expected: &str| {
        let mut args = args(&folder, &["a.csv"]);
        change(&mut args);
        let error = message(&build(&args, config).unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(!args.output.exists(), "nothing is written");
    };
    check(
        &|it| it.version = None,
        None,
        "say which version's reference it is: `--version VERSION`",
    );
    check(&|it| it.model = None, None, "say whose reference it is: `--model NAME`");
    check(
        &|it| it.exclude = vec!["z".into()],
        None,
        &format!("`{file}` has no column `z` to leave out; it has `id`, `x`, `y`"),
    );
    check(
        &|it| it.from = Some(Timestamp::from_millis(0)),
        None,
        "`--from` and `--until` need `--event-time COLUMN`",
    );
    let y = config(r#"[{"name": "y", "path": "y", "type": "float64"}]"#);
    check(
        &|_| {},
        Some(&y),
        "cannot build a reference of feature `y`: it has no finite value in the sample: leave it out",
    );
    check(
        &|it| it.version = Some("2".into()),
        Some(&y),
        "the configuration fixes model `m` to version `1`, not `2`",
    );
    check(&|it| it.model = Some("n".into()), Some(&y), "the configuration has no model `n`");
    let z = config(r#"[{"name": "z", "path": "features.zed", "type": "float64"}]"#);
    check(
        &|_| {},
        Some(&z),
        &format!(
            "`{file}` has no column for feature `z`: expected `z` or `zed`; its columns are `id`"
        ),
    );
    let id = config(r#"[{"name": "id", "path": "id", "type": "float64"}]"#);
    check(&|_| {}, Some(&id), "cannot build a reference of feature `id`");
    let flag = config(r#"[{"name": "id", "path": "id", "type": "boolean"}]"#);
    check(&|_| {}, Some(&flag), "`a` is neither true nor false: configure it as categorical");
}

#[test]
fn a_line_that_does_not_fit_the_header_ends_the_build() {
    for (line, fields) in [("3", 1), ("3,4,5", 3)] {
        let folder = TempDir::new().unwrap();
        write_csv(&folder, "a.csv", &format!("x,y\r\n1,2\r\n{line}\r\n"));
        let error = message(&build(&args(&folder, &["a.csv"]), None).unwrap_err());
        let file = folder.path().join("a.csv");
        let expected =
            format!("line 3 of `{}` has {fields} fields, but the header has 2", file.display());
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_profile_is_shown_whole_or_by_feature() {
    let folder = TempDir::new().unwrap();
    write_csv(&folder, "a.csv", "x,c\n1,a\n2,b\n3,b\n,b\n");
    let args = args(&folder, &["a.csv"]);
    build(&args, None).unwrap();
    let shown = |feature: Option<&str>, json: bool| {
        let mut out = Vec::new();
        let args =
            ShowArgs { profile: args.output.clone(), feature: feature.map(Into::into), json };
        show(&args, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    let all = shown(None, false).unwrap();
    assert!(all.contains("reference of m/1, 4 rows\n"), "{all}");
    assert!(all.contains("c        categorical     0.0%  b 75.0%, a 25.0% (2 levels)\n"), "{all}");
    assert!(all.contains("x        numeric f64    25.0%  1 … 1 | 2 | 3 … 3 ("), "{all}");
    let one = shown(Some("c"), false).unwrap();
    assert!(one.contains("c: categorical, 2 levels, 0.0% missing\n  b  "), "{one}");
    let json: serde_json::Value = serde_json::from_str(&shown(Some("x"), true).unwrap()).unwrap();
    assert_eq!(json["features"][0]["maximum"], 3.0);
    let error = message(&shown(Some("z"), false).unwrap_err());
    assert!(error.ends_with("has no feature `z`; it has `c`, `x`"), "{error}");
    let mut damaged = fs::read(&args.output).unwrap();
    let last = damaged.len() - 3;
    damaged[last] ^= 1;
    fs::write(&args.output, damaged).unwrap();
    let error = message(&shown(None, false).unwrap_err());
    assert!(error.contains("the profile is damaged: its checksum is"), "{error}");
}
