//! axum's rejections as problems.
