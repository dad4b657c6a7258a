//! How a type reads the place that an error is about.
//!
//! Tagged, untagged and flattened types of serde read their content into a buffer first. An error
//! from that buffer carries the path of the whole, so a path alone may be too short, and a member
//! named by the message may be missing much deeper. Asking the type what it wants at the end of
//! the path tells the cases apart. Nothing of the request is read again for that.

use std::cell::Cell;

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess,
        SeqAccess, VariantAccess, Visitor,
        value::{Error, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_path_to_error::Segment;

/// What a type asks its deserializer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The type is not at hand, only the error is.
    Untold,
    /// A number, text, boolean or null.
    Scalar,
    /// An object with these members.
    Object(&'static [&'static str]),
    /// An object with any members, or a struct with `flatten`.
    Map,
    Array,
    /// One of several variants by name.
    Enum,
    /// Anything: perhaps a buffer.
    Opaque,
}

impl Frame {
    /// What `T` asks for at the end of the path.
    pub(crate) fn of<T: DeserializeOwned>(steps: &[&Segment]) -> Self {
        let found = Cell::new(Self::Opaque);
        // Always an error: the walk stops where the path ends.
        let _ = T::deserialize(Walk {
            steps,
            found: &found,
        });
        found.get()
    }
}

/// A deserializer that offers nothing but the next step of a path.
#[derive(Clone, Copy)]
struct Walk<'a> {
    steps: &'a [&'a Segment],
    found: &'a Cell<Frame>,
}

impl<'a> Walk<'a> {
    fn stop<T>(self, frame: Frame) -> Result<T, Error> {
        if self.steps.is_empty() {
            self.found.set(frame);
        }
        Err(Error::custom("the end of the path"))
    }

    /// A walk over the remaining steps.
    fn next(self) -> Option<(&'a Segment, Self)> {
        let (first, steps) = self.steps.split_first()?;
        Some((first, Self { steps, ..self }))
    }

    fn object<'de, V: Visitor<'de>>(self, visitor: V, frame: Frame) -> Result<V::Value, Error> {
        match self.next() {
            Some((Segment::Map { key }, rest)) => visitor.visit_map(Member {
                key: Some(key),
                rest,
            }),
            _ => self.stop(frame),
        }
    }

    /// `alike` says that all items have one type, so that the first stands for any.
    fn array<'de, V: Visitor<'de>>(self, visitor: V, alike: bool) -> Result<V::Value, Error> {
        match self.next() {
            Some((Segment::Seq { index }, rest)) if alike || *index == 0 => {
                visitor.visit_seq(Item(rest))
            }
            _ => self.stop(Frame::Array),
        }
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            self.stop(Frame::Scalar)
        }
    )*};
}

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        self.stop(Frame::Opaque)
    }

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: V,
    ) -> Result<V::Value, Error> {
        self.stop(Frame::Scalar)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.array(visitor, true)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.array(visitor, false)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.array(visitor, false)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.object(visitor, Frame::Map)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.object(visitor, Frame::Object(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.next() {
            Some((Segment::Enum { variant }, rest)) => visitor.visit_enum(Variant {
                name: variant,
                rest,
            }),
            _ => self.stop(Frame::Enum),
        }
    }

    forward_to_deserialize_any! { identifier ignored_any }
}

struct Member<'a> {
    key: Option<&'a str>,
    rest: Walk<'a>,
}

impl<'de> MapAccess<'de> for Member<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.key
            .take()
            .map(|key| seed.deserialize(StrDeserializer::new(key)))
            .transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.rest)
    }
}

struct Item<'a>(Walk<'a>);

impl<'de> SeqAccess<'de> for Item<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        seed.deserialize(self.0).map(Some)
    }
}

struct Variant<'a> {
    name: &'a str,
    rest: Walk<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Error;
    type Variant = Walk<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Walk<'a>), Error> {
        let name: StrDeserializer<'_, Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.rest))
    }
}

impl<'de> VariantAccess<'de> for Walk<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.stop(Frame::Opaque)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.array(visitor, false)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.object(visitor, Frame::Object(fields))
    }
}
