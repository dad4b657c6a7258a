//! The knobs of the layer.

use std::{fmt, sync::Arc};

use http::HeaderName;

use crate::{ProblemContext, ProblemDetails};

/// The longest plain-text body of a 4xx response that becomes the `detail`, in bytes. A longer
/// one is no message, and stays as it is.
pub(crate) const MAX_CLIENT_TEXT_BYTES: u64 = 1024;

/// The longest request id that is repeated in a problem, in bytes: what comes from outside must
/// not blow up documents and log lines.
pub(crate) const MAX_REQUEST_ID_BYTES: usize = 128;

pub(crate) type Edit = dyn Fn(&ProblemContext<'_>, &mut ProblemDetails) + Send + Sync;

#[derive(Clone)]
pub(crate) struct Config {
    /// What `/problems/` becomes in the types of slugs.
    pub(crate) base: Option<String>,
    /// Where the request id stands in a request.
    pub(crate) request_id: HeaderName,
    /// Whether `instance` becomes the path of the request.
    pub(crate) instance: bool,
    /// The user's own changes.
    pub(crate) edit: Option<Arc<Edit>>,
    /// Whether clients may have XML.
    #[cfg(feature = "xml")]
    pub(crate) xml: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base: None,
            request_id: HeaderName::from_static("x-request-id"),
            instance: false,
            edit: None,
            #[cfg(feature = "xml")]
            xml: false,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("base", &self.base)
            .field("request_id", &self.request_id)
            .field("instance", &self.instance)
            .field("edit", &self.edit.is_some())
            .finish_non_exhaustive()
    }
}
