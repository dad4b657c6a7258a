//! The schemas of problems, written by hand: those of RFC 9457 §3.1, which a derive could not say.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, Ref, RefOr, SchemaFormat, Type,
        schema::{Object, Schema},
    },
};

use crate::{ProblemDetails, ProblemType, Violation, violation::VALIDATION};

/// The name of the schema that all problems share.
pub(super) const PROBLEM: &str = "Problem";
const VIOLATION: &str = "Violation";

/// The component `Problem`, for any problem by the rules of RFC 9457: every member is optional.
impl PartialSchema for ProblemDetails {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "A problem (RFC 9457). It may have further members, by its type.",
            ))
            .property(
                "type",
                uri_reference("Identifies the type of the problem; about:blank when absent."),
            )
            .property(
                "title",
                text("What the type is about, the same for each occurrence."),
            )
            .property(
                "status",
                ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .description(Some("The status of the response."))
                    .minimum(Some(100))
                    .maximum(Some(599)),
            )
            .property("detail", text("What went wrong this time."))
            .property("instance", uri_reference("Identifies this occurrence."))
            .property("errors", errors(Ref::from_schema_name(VIOLATION)))
            .into()
    }
}

impl ToSchema for ProblemDetails {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(PROBLEM)
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((VIOLATION.to_owned(), Violation::schema()));
    }
}

impl PartialSchema for Violation {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("One thing that is wrong with the request."))
            .property("detail", text("What is wrong."))
            .required("detail")
            .property("code", text("The name of the rule that is broken."))
            .property(
                "pointer",
                text("A JSON Pointer into the body, as a URI fragment (RFC 6901 §6)."),
            )
            .property("parameter", text("The query or path parameter."))
            .property("header", text("The header field."))
            .into()
    }
}

impl ToSchema for Violation {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(VIOLATION)
    }
}

/// What a server of this crate sends: `type`, `title` and `status` are always there.
pub(super) fn of_type(ty: &ProblemType) -> Object {
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .title(Some(ty.title()))
        .property(
            "type",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(format_uri_reference()))
                .enum_values(Some([ty.uri()])),
        )
        .required("type")
        .property("title", Object::with_type(Type::String))
        .required("title")
        .property(
            "status",
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .enum_values(Some([ty.status().as_u16()])),
        )
        .required("status")
        .property("detail", text("What went wrong this time."))
        .property("instance", uri_reference("Identifies this occurrence."));
    let object = if ty.document() == VALIDATION.document() {
        object
            .property("errors", errors(Violation::schema()))
            .required("errors")
    } else {
        object
    };
    object.build()
}

fn text(description: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .build()
}

/// `uri-reference` and not `uri`: RFC 9457 §3.1.1 allows relative references.
fn uri_reference(description: &str) -> Object {
    let mut schema = text(description);
    schema.format = Some(format_uri_reference());
    schema
}

fn format_uri_reference() -> SchemaFormat {
    SchemaFormat::Custom("uri-reference".to_owned())
}

fn errors(item: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::new()
        .description(Some("Each thing that is wrong with the request."))
        .items(item.into())
}
