//! Deprecation and Sunset headers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::LINK};
use httpdate::HttpDate;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{ConfigError, UriRef};

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// The last second that an HTTP date can name, 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// Announces that a resource is deprecated (RFC 9745), when it goes away (RFC 8594), and where to
/// read on, in the header of every response, also of errors.
///
/// It changes nothing else: RFC 9745 §5 has the resource behave as before. The values are
/// rendered once; a response costs the insertion of at most three header fields.
///
/// A response that brings a `Deprecation` or a `Sunset` of its own keeps its dates, and gets
/// neither from here: the handler knows more than the layer, and dates from two sources could
/// contradict each other. `Link` fields are always added to those that are there.
///
/// # Cancel safety
///
/// The future holds nothing but the inner future; dropping it drops that.
///
/// ```
/// use std::{convert::Infallible, time::{Duration, SystemTime}};
/// use http::{Request, Response};
/// use purlin_problem::{DeprecationLayer, UriRef};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
/// let layer = DeprecationLayer::builder()
///     .with_deprecated_at(at(1_798_761_600))
///     .with_sunset_at(at(1_814_400_000))
///     .with_policy(UriRef::from_static("https://example.com/deprecation"))
///     .with_successor(UriRef::from_static("/v2/orders"))
///     .build()?;
/// let service = ServiceBuilder::new().layer(layer).service(service_fn(
///     async |_: Request<()>| Ok::<_, Infallible>(Response::new(())),
/// ));
/// let response = service.oneshot(Request::new(())).await?;
/// assert_eq!(response.headers()["deprecation"], "@1798761600");
/// assert_eq!(response.headers()["sunset"], "Thu, 01 Jul 2027 00:00:00 GMT");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct DeprecationLayer {
    fields: Arc<Fields>,
}

#[derive(Debug)]
struct Fields {
    deprecation: Option<HeaderValue>,
    sunset: Option<HeaderValue>,
    links: Option<HeaderValue>,
}

impl DeprecationLayer {
    /// Collects what is to be announced.
    pub fn builder() -> DeprecationBuilder {
        DeprecationBuilder::default()
    }
}

impl<S> Layer<S> for DeprecationLayer {
    type Service = Deprecation<S>;

    fn layer(&self, inner: S) -> Deprecation<S> {
        Deprecation {
            inner,
            fields: Arc::clone(&self.fields),
        }
    }
}

/// Makes a [`DeprecationLayer`].
///
/// Everything is optional. Without [`with_deprecated_at`](Self::with_deprecated_at) the links
/// stand alone, which RFC 9745 §3 allows: a policy may be known before a date is.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct DeprecationBuilder {
    deprecated_at: Option<SystemTime>,
    sunset_at: Option<SystemTime>,
    links: Vec<(UriRef, &'static str)>,
}

impl DeprecationBuilder {
    /// Since when the resource is, or from when it will be, deprecated: `Deprecation` (RFC 9745
    /// §2), in whole seconds, rounded down.
    pub fn with_deprecated_at(mut self, deprecated_at: SystemTime) -> Self {
        self.deprecated_at = Some(deprecated_at);
        self
    }

    /// When the resource is expected to stop answering: `Sunset` (RFC 8594 §3), in whole seconds,
    /// rounded down.
    pub fn with_sunset_at(mut self, sunset_at: SystemTime) -> Self {
        self.sunset_at = Some(sunset_at);
        self
    }

    /// Where the deprecation is explained: a link with `rel="deprecation"` (RFC 9745 §3).
    pub fn with_policy(self, target: UriRef) -> Self {
        self.with_link(target, "deprecation")
    }

    /// Where the end is explained: a link with `rel="sunset"` (RFC 8594 §6).
    pub fn with_sunset_policy(self, target: UriRef) -> Self {
        self.with_link(target, "sunset")
    }

    /// What to use instead: a link with `rel="successor-version"` (RFC 5829 §3).
    pub fn with_successor(self, target: UriRef) -> Self {
        self.with_link(target, "successor-version")
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// [`ConfigError::DateOutOfRange`] for a date before 1970 or after 9999, and
    /// [`ConfigError::SunsetBeforeDeprecation`] (RFC 9745 §4).
    pub fn build(self) -> Result<DeprecationLayer, ConfigError> {
        let deprecated_at = self.deprecated_at.map(unix_seconds).transpose()?;
        let sunset_at = self.sunset_at.map(unix_seconds).transpose()?;
        if let (Some(deprecated_at), Some(sunset_at)) = (deprecated_at, sunset_at)
            && sunset_at < deprecated_at
        {
            return Err(ConfigError::SunsetBeforeDeprecation);
        }
        // A date of a structured field (RFC 9651 §3.3.7) is `@` and an integer.
        let deprecation = deprecated_at.map(|seconds| value(&format!("@{seconds}")));
        let sunset = sunset_at.map(|seconds| {
            let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds));
            value(&date.to_string())
        });
        let links: Vec<String> = self
            .links
            .iter()
            .map(|(target, relation)| format!("<{target}>; rel=\"{relation}\""))
            .collect();
        let links = (!links.is_empty()).then(|| value(&links.join(", ")));
        Ok(DeprecationLayer {
            fields: Arc::new(Fields {
                deprecation,
                sunset,
                links,
            }),
        })
    }

    fn with_link(mut self, target: UriRef, relation: &'static str) -> Self {
        self.links.push((target, relation));
        self
    }
}

fn unix_seconds(time: SystemTime) -> Result<u64, ConfigError> {
    time.duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs())
        .ok()
        .filter(|seconds| *seconds <= LAST_SECOND)
        .ok_or(ConfigError::DateOutOfRange)
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("dates and URI references are visible ASCII")
}

impl Fields {
    fn add_to(&self, headers: &mut HeaderMap) {
        if !headers.contains_key(DEPRECATION) && !headers.contains_key(SUNSET) {
            for (name, value) in [(DEPRECATION, &self.deprecation), (SUNSET, &self.sunset)] {
                if let Some(value) = value {
                    headers.insert(name, value.clone());
                }
            }
        }
        if let Some(links) = &self.links {
            headers.append(LINK, links.clone());
        }
    }
}

/// The service of a [`DeprecationLayer`].
#[derive(Clone, Debug)]
pub struct Deprecation<S> {
    inner: S,
    fields: Arc<Fields>,
}

impl<S, B, C> Service<Request<B>> for Deprecation<S>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = DeprecationFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        DeprecationFuture {
            inner: self.inner.call(request),
            fields: Arc::clone(&self.fields),
        }
    }
}

pin_project! {
    /// The response of a [`Deprecation`] service.
    #[derive(Debug)]
    pub struct DeprecationFuture<F> {
        #[pin]
        inner: F,
        fields: Arc<Fields>,
    }
}

impl<F, C, E> Future for DeprecationFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
{
    type Output = Result<Response<C>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        this.fields.add_to(response.headers_mut());
        Poll::Ready(Ok(response))
    }
}
