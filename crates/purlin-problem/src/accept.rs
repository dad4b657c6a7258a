//! What a client would rather read.

use http::{HeaderMap, header};
use mediatype::{
    MediaType, MediaTypeList, ReadParams,
    names::{_STAR, Q},
};

/// The quality that `Accept` gives to `media_type`, 0 to 1: that of the most specific range that
/// covers it, and 0 when none does (RFC 9110 §12.5.1). Without the field everything has 1.
///
/// Ranges that cannot be read are passed over, and parameters other than `q` are not compared:
/// what is chosen by this has no variants that differ in parameters.
pub(crate) fn quality(headers: &HeaderMap, media_type: &MediaType<'_>) -> f32 {
    if !headers.contains_key(header::ACCEPT) {
        return 1.0;
    }
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(MediaTypeList::new)
        .filter_map(Result::ok)
        .filter_map(|range| Some((specificity(&range, media_type)?, weight(&range)?)))
        .max_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)))
        .map_or(0.0, |(_, weight)| weight)
}

/// How closely the range names the type, or `None` when it does not cover it.
fn specificity(range: &MediaType<'_>, media_type: &MediaType<'_>) -> Option<u8> {
    if range.essence() == media_type.essence() {
        Some(2)
    } else if range.subty == _STAR && range.suffix.is_none() && range.ty == media_type.ty {
        Some(1)
    } else if range.subty == _STAR && range.suffix.is_none() && range.ty == _STAR {
        Some(0)
    } else {
        None
    }
}

fn weight(range: &MediaType<'_>) -> Option<f32> {
    range.get_param(Q).map_or(Some(1.0), |q| {
        let q = q.as_str().parse().ok()?;
        (0.0..=1.0).contains(&q).then_some(q)
    })
}
