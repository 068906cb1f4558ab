//! A JSON object without duplicate members.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::Deserialize as DeriveDeserialize;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

/// The members of a JSON object. Duplicate names are refused (RFC 7515 §4, RFC 7519 §4).
///
/// Derived code would accept an array in place of an object, and a map would keep the last of two members.
pub(super) struct JsonObject<'a>(pub(super) BTreeMap<Cow<'a, str>, Value>);

impl<'de> Deserialize<'de> for JsonObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = JsonObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    match members.entry(name) {
                        Entry::Vacant(entry) => entry.insert(value),
                        Entry::Occupied(_) => return Err(A::Error::custom("duplicate member")),
                    };
                }
                Ok(JsonObject(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A member name, borrowed from the text unless it contains escapes.
#[derive(DeriveDeserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
