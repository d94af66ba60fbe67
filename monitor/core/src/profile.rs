//! The reference profile file: one reference sample, frozen as edges, levels and counts.
//!
//! Before: `driftd reference build` counts a sample and encodes it. After: [`crate::reference`] picks the columns a
//! model watches. The file is two lines of JSON: a header with format, version and the SHA-256 of the second
//! line; and the profile itself. It is kilobytes per feature, whatever the number of rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use driftd_catalog::Timestamp;
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
    features: Vec<Feature>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Feature {
    Numeric {
        name: String,
        precision: Width,
        edges: Vec<f64>,
        bin_edges: Vec<f64>,
        cells: Vec<u64>,
        null: u64,
        nan: u64,
        neg_inf: u64,
        pos_inf: u64,
    },
    Categorical {
        name: String,
        levels: Vec<Box<str>>,
        counts: Vec<u64>,
        null: u64,
        /// Rows of levels beyond the bound on levels.
        other: u64,
    },
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
    /// Never: every part of a profile has a JSON form.
    pub fn encode(
        model: &str,
        version: &str,
        created: Timestamp,
        rows: u64,
        origin: Vec<Origin>,
        features: &BTreeMap<String, FeatureReference>,
    ) -> Vec<u8> {
        let body = Body {
            model: model.to_owned(),
            version: version.to_owned(),
            created,
            rows,
            origin,
            features: features.iter().map(|(name, reference)| write(name, reference)).collect(),
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
        let features = body.features.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self {
            digest: format!("sha256:{found}").into(),
            model: body.model,
            version: body.version,
            created: body.created,
            rows: body.rows,
            origin: body.origin,
            features,
        })
    }
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all text");
        text
    })
}

fn write(name: &str, reference: &FeatureReference) -> Feature {
    match reference {
        FeatureReference::Numeric(NumericReference { grid, counts }) => Feature::Numeric {
            name: name.to_owned(),
            precision: match grid.precision() {
                Precision::F32 => Width::F32,
                Precision::F64 => Width::F64,
            },
            edges: grid.edges().to_vec(),
            bin_edges: grid.bin_edges().to_vec(),
            cells: counts.cells.clone(),
            null: counts.null,
            nan: counts.nan,
            neg_inf: counts.neg_inf,
            pos_inf: counts.pos_inf,
        },
        FeatureReference::Categorical(CategoricalReference { levels, counts }) => {
            Feature::Categorical {
                name: name.to_owned(),
                levels: levels.names().to_vec(),
                counts: counts.levels.clone(),
                null: counts.null,
                other: counts.unseen,
            }
        }
    }
}

fn read(feature: Feature) -> Result<(String, FeatureReference), ProfileError> {
    match feature {
        Feature::Numeric {
            name,
            precision,
            edges,
            bin_edges,
            cells,
            null,
            nan,
            neg_inf,
            pos_inf,
        } => {
            let precision = match precision {
                Width::F32 => Precision::F32,
                Width::F64 => Precision::F64,
            };
            let grid = Grid::try_new(precision, edges, bin_edges)
                .map_err(|source| ProfileError::Edges { feature: name.clone(), source })?;
            check_counts(&name, cells.len(), grid.cells())?;
            let counts = NumericCounts { cells, null, nan, neg_inf, pos_inf };
            let reference = NumericReference { grid: Arc::new(grid), counts };
            Ok((name, FeatureReference::Numeric(reference)))
        }
        Feature::Categorical { name, levels, counts, null, other } => {
            let levels = Levels::try_new(levels)
                .map_err(|source| ProfileError::Levels { feature: name.clone(), source })?;
            check_counts(&name, counts.len(), levels.names().len())?;
            let counts = CategoricalCounts {
                levels: counts,
                null,
                unseen: other,
                unseen_levels: BTreeMap::new(),
            };
            let reference = CategoricalReference { levels: Arc::new(levels), counts };
            Ok((name, FeatureReference::Categorical(reference)))
        }
    }
}

fn check_counts(feature: &str, found: usize, expected: usize) -> Result<(), ProfileError> {
    if found == expected {
        Ok(())
    } else {
        Err(ProfileError::Counts { feature: feature.to_owned(), found, expected })
    }
}
