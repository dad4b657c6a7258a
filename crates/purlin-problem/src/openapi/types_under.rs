//! Documents for services whose problem layer has a base.

use serde_json::Value;
use utoipa::{
    Modify,
    openapi::{Content, OpenApi, PathItem, RefOr, Response, path::Operation},
};

use crate::{PROBLEM_JSON, UriRef, problem_type::SLUG_BASE};

/// Puts the types of slugs under another reference than `/problems/`, as
/// [`ProblemLayer::with_base`](crate::ProblemLayer::with_base) does with those of responses:
/// document and server must agree.
///
/// ```
/// # use purlin_problem::{UriRef, openapi::TypesUnder};
/// # use utoipa::{Modify, OpenApi};
/// # #[derive(OpenApi)]
/// # struct Api;
/// let mut document = Api::openapi();
/// TypesUnder::new(UriRef::from_static("https://errors.example.com/")).modify(&mut document);
/// ```
#[derive(Clone, Debug)]
pub struct TypesUnder {
    base: String,
}

impl TypesUnder {
    /// With the base that the layer is given.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a builder takes its parts")]
    pub fn new(base: UriRef) -> Self {
        let mut base = base.to_string();
        if !base.ends_with(['/', '#']) {
            base.push('/');
        }
        Self { base }
    }

    fn change_response(&self, response: &mut RefOr<Response>) {
        let RefOr::T(response) = response else { return };
        let Some(content) = response.content.get_mut(PROBLEM_JSON) else {
            return;
        };
        let changed = serde_json::to_value(&*content).ok().and_then(|mut value| {
            self.change_value(&mut value);
            serde_json::from_value::<RefOr<Content>>(value).ok()
        });
        if let Some(changed) = changed {
            *content = changed;
        }
    }

    /// Rewrites the constants of schemas and the `type` of examples.
    fn change_value(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.change_value(item)),
            Value::Object(members) => {
                for (name, member) in members {
                    match member {
                        Value::String(text) if name == "type" => self.change_text(text),
                        Value::Array(items) if name == "enum" => {
                            for item in items {
                                if let Value::String(text) = item {
                                    self.change_text(text);
                                }
                            }
                        }
                        member => self.change_value(member),
                    }
                }
            }
            _ => {}
        }
    }

    fn change_text(&self, text: &mut String) {
        if let Some(slug) = text.strip_prefix(SLUG_BASE) {
            *text = format!("{}{slug}", self.base);
        }
    }
}

impl Modify for TypesUnder {
    fn modify(&self, openapi: &mut OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            for operation in operations(item) {
                for response in operation.responses.responses.values_mut() {
                    self.change_response(response);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.options,
        &mut item.head,
        &mut item.patch,
        &mut item.trace,
        &mut item.query,
    ]
    .into_iter()
    .flatten()
    .chain(item.additional_operations.values_mut())
}
