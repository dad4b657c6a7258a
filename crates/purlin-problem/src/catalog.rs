//! A service that documents problem types.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use mediatype::{
    MediaType,
    names::{APPLICATION, HTML, JSON, TEXT},
};
use tower_service::Service;

use crate::{
    ConfigError, Problem, ProblemType, UriRef, accept::quality, blank, problem_type::SLUG_BASE,
};

mod page;

use page::Pages;

/// Serves the documentation of problem types, so that the `type` of a problem leads somewhere, as
/// RFC 9457 §3.1.1 and §4 ask for.
///
/// Types that are named by a slug have a page each, and `/` lists them together with the types
/// that are defined elsewhere; `about:blank` needs no documentation. A page is HTML, or JSON when
/// `Accept` prefers `application/json` to `text/html`; it loads nothing, runs no script, and says
/// so in a `Content-Security-Policy` of its own.
///
/// Mount it where the types are, at `/problems`: with the prefix stripped, as axum's
/// `Router::nest_service("/problems", catalog)` does, or not. Under another prefix it must be
/// stripped, and [`CatalogBuilder::with_base`] must say where that is.
///
/// `GET` and `HEAD` are answered, other methods with 405, unknown slugs with 404. The service is
/// always ready and never fails.
///
/// ```
/// use http::{Request, StatusCode};
/// use purlin_problem::{Catalog, ProblemType, violation};
/// use tower::ServiceExt;
///
/// static OUT_OF_STOCK: ProblemType =
///     ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock")
///         .with_description("Fewer items are in stock than were ordered.");
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let catalog = Catalog::builder().with_types([&OUT_OF_STOCK, &violation::VALIDATION]).build()?;
/// let request = Request::get("/problems/out-of-stock").body(())?;
/// let response = catalog.oneshot(request).await?;
/// assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    base: String,
    by_slug: BTreeMap<&'static str, &'static ProblemType>,
    elsewhere: BTreeMap<&'static str, &'static ProblemType>,
}

impl Catalog {
    /// Collects the types.
    pub fn builder() -> CatalogBuilder {
        CatalogBuilder::default()
    }

    /// Whether the type has a page, or needs none because it is defined elsewhere.
    #[must_use]
    pub fn documents(&self, ty: &ProblemType) -> bool {
        ty.slug_name()
            .is_none_or(|slug| self.inner.by_slug.contains_key(slug))
    }

    /// For a test of the service: that every type which an error can give is documented here.
    ///
    /// ```
    /// # use purlin_problem::{Catalog, violation};
    /// # let catalog = Catalog::builder().with_types([&violation::VALIDATION]).build()?;
    /// // typically `catalog.assert_documents(OrderError::problem_types())`
    /// catalog.assert_documents([&violation::VALIDATION]);
    /// # Ok::<_, purlin_problem::ConfigError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When one of the types is not in the catalogue, or has an empty
    /// [`description`](ProblemType::description); the message names all of them.
    #[track_caller]
    pub fn assert_documents<'a>(&self, types: impl IntoIterator<Item = &'a ProblemType>) {
        let lacking: Vec<&str> = types
            .into_iter()
            .filter(|ty| {
                !self.documents(ty) || (ty.slug_name().is_some() && ty.description().is_empty())
            })
            .map(ProblemType::uri)
            .collect();
        assert!(
            lacking.is_empty(),
            "problem types without documentation: {}",
            lacking.join(", ")
        );
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Bytes> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Problem::method_not_allowed([&Method::GET, &Method::HEAD]).into_http();
        }
        let pages = Pages::new(&self.inner.base, prefers_json(request.headers()));
        let Some(slug) = slug_of(request.uri().path()) else {
            let types = self.inner.by_slug.values().copied();
            return found(pages.index(types, self.inner.elsewhere.values().copied()));
        };
        match self.inner.by_slug.get(slug) {
            Some(ty) => found(pages.of_type(ty)),
            None => Problem::new(&blank::NOT_FOUND).into_http(),
        }
    }
}

fn prefers_json(headers: &HeaderMap) -> bool {
    const AS_JSON: MediaType<'_> = MediaType::new(APPLICATION, JSON);
    const AS_HTML: MediaType<'_> = MediaType::new(TEXT, HTML);
    quality(headers, &AS_JSON) > quality(headers, &AS_HTML)
}

/// The slug that a path asks for; `None` is the list. The prefix may be stripped or not.
fn slug_of(path: &str) -> Option<&str> {
    let rest = path
        .strip_prefix(SLUG_BASE.trim_end_matches('/'))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(path);
    let slug = rest.strip_prefix('/').unwrap_or(rest);
    (!slug.is_empty()).then_some(slug)
}

fn found(page: page::Page) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(page.text));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(page.content_type),
    );
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(page::CONTENT_SECURITY_POLICY),
    );
    response
}

impl<B> Service<Request<B>> for Catalog {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = self.answer(&request);
        if request.method() == Method::HEAD {
            // RFC 9110 §9.3.2: the fields of the GET, without its content.
            let length = HeaderValue::from(response.body().len());
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
            response.body_mut().clear();
        }
        ready(Ok(response.map(Full::new)))
    }
}

/// Makes a [`Catalog`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CatalogBuilder {
    base: Option<UriRef>,
    types: Vec<&'static ProblemType>,
}

impl CatalogBuilder {
    /// Adds types, typically those of an error: `OrderError::problem_types()`. The same type may
    /// be added several times.
    pub fn with_types(mut self, types: impl IntoIterator<Item = &'static ProblemType>) -> Self {
        self.types.extend(types);
        self
    }

    /// Says where the catalogue stands when that is not `/problems/`; the same reference as in
    /// [`ProblemLayer::with_base`](crate::ProblemLayer::with_base).
    pub fn with_base(mut self, base: UriRef) -> Self {
        self.base = Some(base);
        self
    }

    /// The catalogue.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SlugConflict`] when two types have the same slug and another title, status,
    /// description or gRPC code.
    pub fn build(self) -> Result<Catalog, ConfigError> {
        let mut by_slug: BTreeMap<_, &'static ProblemType> = BTreeMap::new();
        let mut elsewhere = BTreeMap::new();
        for ty in self.types {
            match ty.slug_name() {
                Some(slug) => {
                    if by_slug
                        .insert(slug, ty)
                        .is_some_and(|known| !same(known, ty))
                    {
                        return Err(ConfigError::SlugConflict(slug));
                    }
                }
                None if ty.uri() == "about:blank" => {}
                None => {
                    elsewhere.insert(ty.uri(), ty);
                }
            }
        }
        let mut base = self
            .base
            .map_or_else(|| SLUG_BASE.to_owned(), |base| base.to_string());
        if !base.ends_with(['/', '#']) {
            base.push('/');
        }
        Ok(Catalog {
            inner: Arc::new(Inner {
                base,
                by_slug,
                elsewhere,
            }),
        })
    }
}

fn same(left: &ProblemType, right: &ProblemType) -> bool {
    left.document() == right.document()
        && left.description() == right.description()
        && left.grpc_code() == right.grpc_code()
}
