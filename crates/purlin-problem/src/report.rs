//! What a problem tells the log and the layers around it, and never the client.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{BoxError, ProblemType};

/// The part of a problem that is not on the wire, in the extensions of its response: the type and
/// the error behind it.
///
/// [`Problem::into_http`](crate::Problem::into_http) puts it there when there is a source, or
/// when the gRPC code of the type is not the usual one of its status; a
/// [`ProblemLayer`](crate::ProblemLayer) logs it, once however many layers see the response.
#[derive(Clone)]
pub struct ProblemReport(Arc<Inner>);

struct Inner {
    ty: &'static ProblemType,
    source: Option<BoxError>,
    logged: AtomicBool,
}

impl ProblemReport {
    pub(crate) fn new(ty: &'static ProblemType, source: Option<BoxError>) -> Self {
        Self(Arc::new(Inner {
            ty,
            source,
            logged: AtomicBool::new(false),
        }))
    }

    /// The type of the problem.
    #[must_use]
    pub fn problem_type(&self) -> &'static ProblemType {
        self.0.ty
    }

    /// The error behind the problem, for the log.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// True for the first caller only: whoever gets it writes the log line.
    ///
    /// Call it before logging a problem elsewhere, and the layer will not log it again.
    #[must_use]
    pub fn claim_log(&self) -> bool {
        !self.0.logged.swap(true, Ordering::Relaxed)
    }
}

impl fmt::Debug for ProblemReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProblemReport")
            .field("problem_type", &self.0.ty)
            .field(
                "source",
                &self
                    .0
                    .source
                    .as_deref()
                    .map(|source| Chain(source).to_string()),
            )
            .finish_non_exhaustive()
    }
}

/// An error and all its sources, in one line: `query failed: connection refused`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}
