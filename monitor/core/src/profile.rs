//! The reference profile file: one reference sample, frozen as edges, levels and counts.
//!
//! Before: `driftd reference build` counts a sample and encodes it. After: [`crate::reference`]
//! picks the columns a model watches. The file is two lines of JSON: a header with format, version
//! and the SHA-256 of the second line; and the profile itself. It is kilobytes per feature and
//! segment, whatever the number of rows: segments are counted in the cells of the whole sample, so
//! that a window of a segment has the same shape as one of all.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use driftd_catalog::{SegmentId, Timestamp};
use driftd_detectors::{
    CategoricalCounts, CategoricalReference, FeatureReference, Grid, GridError, Levels,
    LevelsError, NumericCounts, NumericReference, Precision,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const FORMAT: &str = "driftd-profile";
/// Version of the file format; it grows when an older reader would misread the file.
const VERSION: u32 = 1;

/// A reference sample of one model version.
#[derive(Debug)]
pub struct Profile {
    /// `sha256:` and the checksum of the encoded profile.
    pub digest: Arc<str>,
    /// Name of the model.
    pub model: String,
    /// Version of the model.
    pub version: String,
    /// When it was built.
    pub created: Timestamp,
    /// Rows of the sample.
    pub rows: u64,
    /// Where the rows came from.
    pub origin: Vec<Origin>,
    /// The columns, by name.
    pub features: BTreeMap<String, FeatureReference>,
    /// The parts of the sample that were counted by themselves.
    pub segments: BTreeMap<SegmentId, SegmentSample>,
}

/// The rows of the sample that are in one segment.
#[derive(Clone, Debug)]
pub struct SegmentSample {
    /// Rows in the segment.
    pub rows: u64,
    /// How many of the most frequent values the sample was split by; absent where they were listed.
    pub top: Option<u32>,
    /// The columns by name, all that the profile has, in the cells of the whole sample.
    pub features: BTreeMap<String, FeatureReference>,
}

/// One input of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Path as given.
    pub path: String,
    /// Size of the file.
    pub bytes: u64,
    /// First event time taken from it, where a range was asked for.
    pub from: Option<Timestamp>,
    /// First event time not taken from it, where a range was asked for.
    pub until: Option<Timestamp>,
}

/// Bytes that are no usable profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The first line is not the header.
    #[error(
        "the first line is not the header of a driftd profile: build one with `driftd reference build`"
    )]
    NoHeader,
    /// The file is of a newer or foreign format version.
    #[error(
        "the profile has format version {found}, this driftd reads {VERSION}: rebuild it with this version"
    )]
    Version {
        /// Version in the header.
        found: u32,
    },
    /// The content is not what was written.
    #[error(
        "the profile is damaged: its checksum is {found}, the header says {expected}: copy or build it again"
    )]
    Checksum {
        /// Checksum of the content.
        found: String,
        /// Checksum in the header.
        expected: String,
    },
    /// The content has another shape.
    #[error("the profile's content cannot be read")]
    Shape(#[source] serde_json::Error),
    /// The edges of a feature are not usable.
    #[error("feature `{feature}` of the profile has unusable edges")]
    Edges {
        /// The feature.
        feature: String,
        /// What is wrong with them.
        #[source]
        source: GridError,
    },
    /// The levels of a feature are not usable.
    #[error("feature `{feature}` of the profile has unusable levels")]
    Levels {
        /// The feature.
        feature: String,
        /// What is wrong with them.
        #[source]
        source: LevelsError,
    },
    /// A feature has another number of counts than cells.
    #[error("feature `{feature}` of the profile has {found} counts for {expected} cells")]
    Counts {
        /// The feature.
        feature: String,
        /// Number of counts.
        found: usize,
        /// Number of cells.
        expected: usize,
    },
    /// A segment's name is none.
    #[error("`{segment}` in the profile is no segment: expected `name=value`")]
    Segment {
        /// The name.
        segment: String,
    },
    /// A feature is not counted in every segment.
    #[error("feature `{feature}` of the profile is counted in {found} of {expected} segments")]
    Segments {
        /// The feature.
        feature: String,
        /// Number of segments with counts.
        found: usize,
        /// Number of segments.
        expected: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    model: String,
    version: String,
    created: Timestamp,
    rows: u64,
    origin: Vec<Origin>,
    segments: Vec<Segment>,
    features: Vec<Feature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Segment {
    #[serde(rename = "segment")]
    id: String,
    rows: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    top: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Feature {
    Numeric {
        name: String,
        precision: Width,
        edges: Vec<f64>,
        bin_edges: Vec<f64>,
        counts: Numbers,
        /// One entry a segment, in the order of the body's.
        segments: Vec<Numbers>,
    },
    Categorical {
        name: String,
        levels: Vec<Box<str>>,
        counts: Categories,
        /// One entry a segment, in the order of the body's.
        segments: Vec<Categories>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    cells: Vec<u64>,
    null: u64,
    nan: u64,
    neg_inf: u64,
    pos_inf: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Categories {
    levels: Vec<u64>,
    null: u64,
    /// Rows of levels beyond the bound on levels.
    other: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Width {
    F32,
    F64,
}

impl Profile {
    /// Writes the file's bytes, and the digest they will be known by.
    ///
    /// # Panics
    /// When a segment lacks a feature of the sample, or has it in other cells.
    pub fn encode(
        model: &str,
        version: &str,
        created: Timestamp,
        rows: u64,
        origin: Vec<Origin>,
        features: &BTreeMap<String, FeatureReference>,
        segments: &BTreeMap<SegmentId, SegmentSample>,
    ) -> Vec<u8> {
        let parts = |name: &str| -> Vec<&FeatureReference> {
            segments.values().map(|sample| &sample.features[name]).collect()
        };
        let body = Body {
            model: model.to_owned(),
            version: version.to_owned(),
            created,
            rows,
            origin,
            segments: segments
                .iter()
                .map(|(id, sample)| Segment {
                    id: id.to_string(),
                    rows: sample.rows,
                    top: sample.top,
                })
                .collect(),
            features: features
                .iter()
                .map(|(name, reference)| write(name, reference, &parts(name)))
                .collect(),
        };
        let body = serde_json::to_string(&body).expect("a profile has a JSON form");
        let sha256 = checksum(body.as_bytes());
        let header = Header { format: FORMAT.to_owned(), version: VERSION, sha256 };
        let header = serde_json::to_string(&header).expect("a header has a JSON form");
        format!("{header}\n{body}\n").into_bytes()
    }

    /// Reads a file's bytes, and checks that they are what was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProfileError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(ProfileError::NoHeader)?;
        let (header, body) = bytes.split_at(end);
        let header: Header = serde_json::from_slice(header).map_err(|_| ProfileError::NoHeader)?;
        if header.format != FORMAT {
            return Err(ProfileError::NoHeader);
        }
        if header.version != VERSION {
            return Err(ProfileError::Version { found: header.version });
        }
        let body = body.trim_ascii();
        let found = checksum(body);
        if found != header.sha256 {
            return Err(ProfileError::Checksum { found, expected: header.sha256 });
        }
        let body: Body = serde_json::from_slice(body).map_err(ProfileError::Shape)?;
        let mut segments =
            body.segments.into_iter().map(read_segment).collect::<Result<Vec<_>, _>>()?;
        let mut features = BTreeMap::new();
        for feature in body.features {
            let (name, reference, parts) = read(feature)?;
            if parts.len() != segments.len() {
                let (found, expected) = (parts.len(), segments.len());
                return Err(ProfileError::Segments { feature: name, found, expected });
            }
            for ((_, sample), part) in segments.iter_mut().zip(parts) {
                sample.features.insert(name.clone(), part);
            }
            features.insert(name, reference);
        }
        Ok(Self {
            digest: format!("sha256:{found}").into(),
            model: body.model,
            version: body.version,
            created: body.created,
            rows: body.rows,
            origin: body.origin,
            features,
            segments: segments.into_iter().collect(),
        })
    }
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all text");
        text
    })
}

fn write(name: &str, reference: &FeatureReference, parts: &[&FeatureReference]) -> Feature {
    let name = name.to_owned();
    match reference {
        FeatureReference::Numeric(NumericReference { grid, counts }) => Feature::Numeric {
            name,
            precision: match grid.precision() {
                Precision::F32 => Width::F32,
                Precision::F64 => Width::F64,
            },
            edges: grid.edges().to_vec(),
            bin_edges: grid.bin_edges().to_vec(),
            counts: Numbers::from(counts),
            segments: parts
                .iter()
                .map(|part| match part {
                    FeatureReference::Numeric(part) => Numbers::from(&part.counts),
                    FeatureReference::Categorical(_) => panic!("a segment has the sample's cells"),
                })
                .collect(),
        },
        FeatureReference::Categorical(CategoricalReference { levels, counts }) => {
            Feature::Categorical {
                name,
                levels: levels.names().to_vec(),
                counts: Categories::from(counts),
                segments: parts
                    .iter()
                    .map(|part| match part {
                        FeatureReference::Categorical(part) => Categories::from(&part.counts),
                        FeatureReference::Numeric(_) => panic!("a segment has the sample's cells"),
                    })
                    .collect(),
            }
        }
    }
}

impl From<&NumericCounts> for Numbers {
    fn from(counts: &NumericCounts) -> Self {
        let NumericCounts { cells, null, nan, neg_inf, pos_inf } = counts;
        let cells = cells.iter().collect();
        Self { cells, null: *null, nan: *nan, neg_inf: *neg_inf, pos_inf: *pos_inf }
    }
}

impl From<&CategoricalCounts> for Categories {
    fn from(counts: &CategoricalCounts) -> Self {
        Self { levels: counts.levels.clone(), null: counts.null, other: counts.unseen }
    }
}

fn read_segment(segment: Segment) -> Result<(SegmentId, SegmentSample), ProfileError> {
    let Segment { id: segment, rows, top } = segment;
    let id = segment.split_once('=').and_then(|(name, value)| SegmentId::try_new(name, value).ok());
    match id {
        Some(id) => Ok((id, SegmentSample { rows, top, features: BTreeMap::new() })),
        None => Err(ProfileError::Segment { segment }),
    }
}

/// Returns a feature of the sample, and the same of each segment.
fn read(
    feature: Feature,
) -> Result<(String, FeatureReference, Vec<FeatureReference>), ProfileError> {
    match feature {
        Feature::Numeric { name, precision, edges, bin_edges, counts, segments } => {
            let precision = match precision {
                Width::F32 => Precision::F32,
                Width::F64 => Precision::F64,
            };
            let grid = Grid::try_new(precision, edges, bin_edges)
                .map_err(|source| ProfileError::Edges { feature: name.clone(), source })?;
            let grid = Arc::new(grid);
            let counted = |numbers| read_numbers(&name, &grid, numbers);
            let reference = counted(counts)?;
            let parts = segments.into_iter().map(counted).collect::<Result<_, _>>()?;
            Ok((name, reference, parts))
        }
        Feature::Categorical { name, levels, counts, segments } => {
            let levels = Levels::try_new(levels)
                .map_err(|source| ProfileError::Levels { feature: name.clone(), source })?;
            let levels = Arc::new(levels);
            let counted = |categories| read_categories(&name, &levels, categories);
            let reference = counted(counts)?;
            let parts = segments.into_iter().map(counted).collect::<Result<_, _>>()?;
            Ok((name, reference, parts))
        }
    }
}

fn read_numbers(
    feature: &str,
    grid: &Arc<Grid>,
    numbers: Numbers,
) -> Result<FeatureReference, ProfileError> {
    let Numbers { cells, null, nan, neg_inf, pos_inf } = numbers;
    check_counts(feature, cells.len(), grid.cells())?;
    let counts = NumericCounts { cells: cells.into(), null, nan, neg_inf, pos_inf };
    Ok(FeatureReference::Numeric(NumericReference { grid: Arc::clone(grid), counts }))
}

fn read_categories(
    feature: &str,
    levels: &Arc<Levels>,
    categories: Categories,
) -> Result<FeatureReference, ProfileError> {
    check_counts(feature, categories.levels.len(), levels.names().len())?;
    let counts = CategoricalCounts {
        levels: categories.levels,
        null: categories.null,
        unseen: categories.other,
        unseen_levels: BTreeMap::new(),
    };
    Ok(FeatureReference::Categorical(CategoricalReference { levels: Arc::clone(levels), counts }))
}

fn check_counts(feature: &str, found: usize, expected: usize) -> Result<(), ProfileError> {
    if found == expected {
        Ok(())
    } else {
        Err(ProfileError::Counts { feature: feature.to_owned(), found, expected })
    }
}
