//! The type of a field: what its array is made of, and how many arrays and buffers that is.
//!
//! Before: [`super::framing`] has the schema of a message. After: [`super::program`] compiles the
//! fields together with the source's paths.

use arrow::ipc;

use super::problem::Problem;
use super::value::Meaning;
use crate::schema::TimeFormat;

/// How many arrays and buffers a field has, those inside of it included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) arrays: usize,
    pub(super) buffers: usize,
    /// Arrays of views, of which each has buffers beside these.
    pub(super) views: usize,
}

impl Extent {
    fn new(arrays: usize, buffers: usize, views: usize) -> Self {
        Self { arrays, buffers, views }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            arrays: self.arrays + other.arrays,
            buffers: self.buffers + other.buffers,
            views: self.views + other.views,
        }
    }
}

/// The width of whole numbers, and whether they have a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntType {
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

/// How many bytes an offset has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Small,
    Large,
}

/// An array without others inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Null,
    Boolean,
    Whole(IntType, Meaning),
    Half,
    Float,
    Double,
    Decimal {
        width: usize,
        scale: i32,
    },
    Text(Width),
    TextViews,
    /// Bytes and intervals, with so many buffers: what no column takes.
    Opaque {
        buffers: usize,
    },
    OpaqueViews,
}

impl Scalar {
    pub(super) fn extent(self) -> Extent {
        match self {
            Self::Null => Extent::new(1, 0, 0),
            Self::Boolean
            | Self::Whole(..)
            | Self::Half
            | Self::Float
            | Self::Double
            | Self::Decimal { .. } => Extent::new(1, 2, 0),
            Self::Text(_) => Extent::new(1, 3, 0),
            Self::Opaque { buffers } => Extent::new(1, buffers, 0),
            Self::TextViews | Self::OpaqueViews => Extent::new(1, 2, 1),
        }
    }
}

/// What the array of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Scalar(Scalar),
    /// Places in the dictionary of a number.
    Dictionary {
        keys: IntType,
        id: i64,
    },
    Struct,
    List(Width),
    FixedList {
        size: usize,
    },
    /// Lists of which each says where it begins and how long it is.
    ListViews,
    Map,
    Runs,
    Union {
        is_dense: bool,
    },
}

/// Children of a field.
pub(super) fn children<'a>(
    field: &ipc::Field<'a>,
) -> impl DoubleEndedIterator<Item = ipc::Field<'a>> {
    field.children().into_iter().flat_map(|all| (0..all.len()).map(move |at| all.get(at)))
}

/// Returns the only child of a field.
pub(super) fn child<'a>(field: &ipc::Field<'a>) -> Result<ipc::Field<'a>, Problem> {
    let mut all = children(field);
    match (all.next(), all.next()) {
        (Some(child), None) => Ok(child),
        (Some(_) | None, Some(_) | None) => Err(Problem::Field),
    }
}

/// Returns both children of a field.
pub(super) fn pair<'a>(field: &ipc::Field<'a>) -> Result<[ipc::Field<'a>; 2], Problem> {
    let mut all = children(field);
    match (all.next(), all.next(), all.next()) {
        (Some(one), Some(other), None) => Ok([one, other]),
        (Some(_) | None, Some(_) | None, Some(_) | None) => Err(Problem::Field),
    }
}

/// Returns how many arrays and buffers a field has.
pub(super) fn extent(field: &ipc::Field<'_>) -> Result<Extent, Problem> {
    let inside =
        || children(field).try_fold(Extent::default(), |sum, child| Ok(sum.and(extent(&child)?)));
    let only = || extent(&child(field)?);
    Ok(match shape(field)? {
        Shape::Scalar(scalar) => scalar.extent(),
        Shape::Dictionary { .. } => Extent::new(1, 2, 0),
        Shape::Struct => Extent::new(1, 1, 0).and(inside()?),
        Shape::List(_) | Shape::Map => Extent::new(1, 2, 0).and(only()?),
        Shape::FixedList { .. } => Extent::new(1, 1, 0).and(only()?),
        Shape::ListViews => Extent::new(1, 3, 0).and(only()?),
        Shape::Runs => {
            let [ends, values] = pair(field)?;
            Extent::new(1, 0, 0).and(extent(&ends)?).and(extent(&values)?)
        }
        Shape::Union { is_dense } => Extent::new(1, 1 + usize::from(is_dense), 0).and(inside()?),
    })
}

/// Returns whether a field is, or has inside, what had another number of buffers or was not there
/// before version 5 of the format.
pub(super) fn needs_v5(field: &ipc::Field<'_>) -> bool {
    matches!(field.type_type(), ipc::Type::Union | ipc::Type::RunEndEncoded)
        || children(field).any(|child| needs_v5(&child))
}

/// Returns what the array of a field is.
pub(super) fn shape(field: &ipc::Field<'_>) -> Result<Shape, Problem> {
    let Some(dictionary) = field.dictionary() else { return value_shape(field) };
    // Without a type of their own they are of 32 bits.
    let keys = dictionary.indexType().map_or(Ok(IntType::I32), |keys| int(&keys))?;
    Ok(Shape::Dictionary { keys, id: dictionary.id() })
}

/// Returns what the array of a field's values is: those of its dictionary, where it has one.
pub(super) fn value_shape(field: &ipc::Field<'_>) -> Result<Shape, Problem> {
    let number = |number: IntType, meaning| Ok(Scalar::Whole(number, meaning));
    let plain = |bytes: i32| match bytes {
        32 => number(IntType::I32, Meaning::Number),
        64 => number(IntType::I64, Meaning::Number),
        _ => Err(Problem::Field),
    };
    let scalar = match field.type_type() {
        ipc::Type::Null => Ok(Scalar::Null),
        ipc::Type::Bool => Ok(Scalar::Boolean),
        ipc::Type::Int => {
            let found = int(&field.type_as_int().ok_or(Problem::Field)?)?;
            number(found, Meaning::Number)
        }
        ipc::Type::FloatingPoint => {
            match field.type_as_floating_point().ok_or(Problem::Field)?.precision() {
                ipc::Precision::HALF => Ok(Scalar::Half),
                ipc::Precision::SINGLE => Ok(Scalar::Float),
                ipc::Precision::DOUBLE => Ok(Scalar::Double),
                _ => Err(Problem::Field),
            }
        }
        ipc::Type::Decimal => decimal(&field.type_as_decimal().ok_or(Problem::Field)?),
        ipc::Type::Date => match field.type_as_date().ok_or(Problem::Field)?.unit() {
            ipc::DateUnit::DAY => number(IntType::I32, Meaning::Days),
            ipc::DateUnit::MILLISECOND => {
                number(IntType::I64, Meaning::Time(TimeFormat::UnixMillis))
            }
            _ => Err(Problem::Field),
        },
        ipc::Type::Timestamp => unit(field.type_as_timestamp().ok_or(Problem::Field)?.unit())
            .and_then(|unit| number(IntType::I64, Meaning::Time(unit))),
        ipc::Type::Time => plain(field.type_as_time().ok_or(Problem::Field)?.bitWidth()),
        ipc::Type::Duration => plain(64),
        ipc::Type::Interval | ipc::Type::FixedSizeBinary => Ok(Scalar::Opaque { buffers: 2 }),
        ipc::Type::Binary | ipc::Type::LargeBinary => Ok(Scalar::Opaque { buffers: 3 }),
        ipc::Type::Utf8 => Ok(Scalar::Text(Width::Small)),
        ipc::Type::LargeUtf8 => Ok(Scalar::Text(Width::Large)),
        ipc::Type::Utf8View => Ok(Scalar::TextViews),
        ipc::Type::BinaryView => Ok(Scalar::OpaqueViews),
        _ => return nested(field),
    };
    scalar.map(Shape::Scalar)
}

fn nested(field: &ipc::Field<'_>) -> Result<Shape, Problem> {
    Ok(match field.type_type() {
        ipc::Type::Struct_ => Shape::Struct,
        ipc::Type::List => Shape::List(Width::Small),
        ipc::Type::LargeList => Shape::List(Width::Large),
        ipc::Type::FixedSizeList => {
            let size = field.type_as_fixed_size_list().ok_or(Problem::Field)?.listSize();
            Shape::FixedList { size: usize::try_from(size).map_err(|_| Problem::Field)? }
        }
        ipc::Type::ListView | ipc::Type::LargeListView => Shape::ListViews,
        ipc::Type::Map => Shape::Map,
        ipc::Type::RunEndEncoded => Shape::Runs,
        ipc::Type::Union => {
            let mode = field.type_as_union().ok_or(Problem::Field)?.mode();
            Shape::Union { is_dense: mode == ipc::UnionMode::Dense }
        }
        _ => return Err(Problem::Field),
    })
}

fn int(found: &ipc::Int<'_>) -> Result<IntType, Problem> {
    Ok(match (found.bitWidth(), found.is_signed()) {
        (8, true) => IntType::I8,
        (16, true) => IntType::I16,
        (32, true) => IntType::I32,
        (64, true) => IntType::I64,
        (8, false) => IntType::U8,
        (16, false) => IntType::U16,
        (32, false) => IntType::U32,
        (64, false) => IntType::U64,
        _ => return Err(Problem::Field),
    })
}

/// Returns the type of decimals, whose scale is as far as Arrow's own.
fn decimal(found: &ipc::Decimal<'_>) -> Result<Scalar, Problem> {
    let (bits, scale) = (found.bitWidth(), found.scale());
    let is_known = matches!(bits, 32 | 64 | 128 | 256) && i8::try_from(scale).is_ok();
    let width = usize::try_from(bits / 8).map_err(|_| Problem::Field)?;
    if is_known { Ok(Scalar::Decimal { width, scale }) } else { Err(Problem::Field) }
}

fn unit(found: ipc::TimeUnit) -> Result<TimeFormat, Problem> {
    Ok(match found {
        ipc::TimeUnit::SECOND => TimeFormat::UnixSeconds,
        ipc::TimeUnit::MILLISECOND => TimeFormat::UnixMillis,
        ipc::TimeUnit::MICROSECOND => TimeFormat::UnixMicros,
        ipc::TimeUnit::NANOSECOND => TimeFormat::UnixNanos,
        _ => return Err(Problem::Field),
    })
}
