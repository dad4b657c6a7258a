//! From the names of Rust fields to those on the wire.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque},
    rc::Rc,
    sync::Arc,
};

/// Knows what the fields of a type are called on the wire. Derive it:
/// `#[derive(WireNames)]` reads what `#[serde(…)]` says.
///
/// Validators such as `garde` and `validator` report Rust names (`items[0].user_name`), which mean
/// nothing to a client that sent `userName`.
///
/// ```
/// use purlin_problem::{WireNames, violation::Names};
///
/// #[derive(serde::Deserialize, WireNames)]
/// #[serde(rename_all = "camelCase")]
/// struct Account {
///     user_name: String,
///     #[serde(rename = "e-mail")]
///     email: String,
/// }
///
/// let names: Names = Account::names();
/// ```
///
/// # The derive
///
/// It takes structs and follows `rename`, `rename_all`, `flatten`, `transparent` and `skip` of
/// serde, the names for deserialising where the two differ. It looks into a field when
/// `#[garde(dive)]` or `#[validate(nested)]` says that the validator does; the field's type must
/// then have names too, which `Vec`, `Option`, `Box`, maps and the like have when their items do.
/// A struct that serde reads by way of another one (`from`, `try_from`) is refused, since its
/// names on the wire are the other's.
///
/// ```compile_fail
/// # use purlin_problem::WireNames;
/// #[derive(serde::Deserialize, WireNames)]
/// #[serde(try_from = "String")]
/// struct Address {
///     street: String,
/// }
/// # impl TryFrom<String> for Address {
/// #     type Error = &'static str;
/// #     fn try_from(street: String) -> Result<Self, Self::Error> { Ok(Self { street }) }
/// # }
/// ```
///
/// For an enum say `impl WireNames for Kind { fn names() -> Names { Names::UNKNOWN } }`: the
/// report of a validator does not tell the variants apart.
pub trait WireNames {
    /// The names of the fields of this type.
    fn names() -> Names;
}

/// What is known of the names inside of a type; see [`WireNames`].
#[derive(Clone, Copy, Debug)]
pub struct Names(pub(super) Shape);

#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Leaf,
    Fields(&'static [WireField]),
    Items(fn() -> Names),
    Members(fn() -> Names),
    SameAsRust,
    Unknown,
}

impl Names {
    /// A value that has no fields: a number, a text, or an array of such.
    pub const LEAF: Self = Self(Shape::Leaf);

    /// The wire says what Rust says, all the way down: for types without any `rename`.
    pub const SAME_AS_RUST: Self = Self(Shape::SameAsRust);

    /// Nothing is known: violations inside have no place, rather than a wrong one.
    pub const UNKNOWN: Self = Self(Shape::Unknown);

    /// A struct.
    #[must_use]
    pub const fn of_fields(fields: &'static [WireField]) -> Self {
        Self(Shape::Fields(fields))
    }

    /// An array whose items are `T`.
    #[must_use]
    pub const fn of_items<T: WireNames>() -> Self {
        Self(Shape::Items(T::names))
    }

    /// An object with any members, whose values are `T`.
    #[must_use]
    pub const fn of_members<T: WireNames>() -> Self {
        Self(Shape::Members(T::names))
    }
}

/// One field of a struct; see [`Names::of_fields`].
#[derive(Clone, Copy, Debug)]
pub struct WireField {
    pub(super) rust: &'static str,
    pub(super) wire: Wire,
    pub(super) names: fn() -> Names,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wire {
    Named(&'static str),
    Flattened,
    Absent,
}

impl WireField {
    /// A field that is called `wire` on the wire.
    #[must_use]
    pub const fn new(rust: &'static str, wire: &'static str) -> Self {
        Self {
            rust,
            wire: Wire::Named(wire),
            names: || Names::LEAF,
        }
    }

    /// A field whose own fields stand in its place (`flatten`, `transparent`).
    #[must_use]
    pub const fn flattened(rust: &'static str) -> Self {
        Self {
            wire: Wire::Flattened,
            ..Self::new(rust, "")
        }
    }

    /// A field that is not on the wire (`skip`).
    #[must_use]
    pub const fn absent(rust: &'static str) -> Self {
        Self {
            wire: Wire::Absent,
            ..Self::new(rust, "")
        }
    }

    /// Says what the field's own fields are called.
    #[must_use]
    pub const fn with_names(self, names: fn() -> Names) -> Self {
        Self { names, ..self }
    }
}

macro_rules! same_as_inner {
    ($($ty:ty)*) => {$(
        impl<T: WireNames> WireNames for $ty {
            fn names() -> Names {
                T::names()
            }
        }
    )*};
}

macro_rules! items {
    ($($ty:ty)*) => {$(
        impl<T: WireNames> WireNames for $ty {
            fn names() -> Names {
                Names::of_items::<T>()
            }
        }
    )*};
}

same_as_inner! { Option<T> Box<T> Rc<T> Arc<T> }
items! { Vec<T> VecDeque<T> LinkedList<T> [T] }

impl<T: WireNames, const N: usize> WireNames for [T; N] {
    fn names() -> Names {
        Names::of_items::<T>()
    }
}

impl<K, V: WireNames, S> WireNames for HashMap<K, V, S> {
    fn names() -> Names {
        Names::of_members::<V>()
    }
}

impl<K, V: WireNames> WireNames for BTreeMap<K, V> {
    fn names() -> Names {
        Names::of_members::<V>()
    }
}

/// A validator counts the items of a set in an order that is not that of the document.
macro_rules! unordered {
    ($($ty:ty $(, $param:ident)?;)*) => {$(
        impl<T $(, $param)?> WireNames for $ty {
            fn names() -> Names {
                Names::UNKNOWN
            }
        }
    )*};
}

unordered! { HashSet<T, S>, S; BTreeSet<T>; BinaryHeap<T>; }
