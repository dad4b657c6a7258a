//! Problems in OpenAPI documents.
