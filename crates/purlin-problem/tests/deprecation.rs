//! The deprecation layer, by RFC 9745 and RFC 8594.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Request, Response, StatusCode};
use purlin_problem::{ConfigError, DeprecationBuilder, DeprecationLayer, Problem, UriRef, blank};
use tower::{ServiceBuilder, ServiceExt, service_fn};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn headers_around(builder: DeprecationBuilder, inner: Response<()>) -> HeaderMap {
    let layer = builder.build().expect("the dates go together");
    let service = ServiceBuilder::new()
        .layer(layer)
        .service(service_fn(move |_: Request<()>| {
            let inner = inner.clone();
            async move { Ok::<_, Infallible>(inner) }
        }));
    let response = service.oneshot(Request::new(())).await.unwrap();
    response.headers().clone()
}

#[tokio::test]
async fn rfc9745_2_1_the_date_is_a_structured_field_date() {
    // 2023-06-30T23:59:59Z is the date of the RFC's own example.
    let time = httpdate::parse_http_date("Fri, 30 Jun 2023 23:59:59 GMT").unwrap();
    let builder = DeprecationLayer::builder().with_deprecated_at(time);
    let headers = headers_around(builder, Response::new(())).await;
    assert_eq!(headers["deprecation"], "@1688169599");
    assert!(!headers.contains_key("sunset") && !headers.contains_key("link"));
}

#[tokio::test]
async fn fractions_of_seconds_are_cut_off_and_not_compared() {
    let builder = DeprecationLayer::builder()
        .with_deprecated_at(at(1_688_169_599) + Duration::from_millis(900))
        .with_sunset_at(at(1_688_169_599) + Duration::from_millis(100));
    let headers = headers_around(builder, Response::new(())).await;
    assert_eq!(headers["deprecation"], "@1688169599");
    assert_eq!(headers["sunset"], "Fri, 30 Jun 2023 23:59:59 GMT");
}

#[tokio::test]
async fn rfc8594_3_the_sunset_is_an_http_date_that_reads_back() {
    for seconds in [0, 1, 1_735_689_599, 4_102_444_800, 253_402_300_799] {
        let builder = DeprecationLayer::builder().with_sunset_at(at(seconds));
        let headers = headers_around(builder, Response::new(())).await;
        let sunset = headers["sunset"].to_str().unwrap();
        assert_eq!(httpdate::parse_http_date(sunset).unwrap(), at(seconds));
        assert!(sunset.ends_with(" GMT"));
        assert!(!headers.contains_key("deprecation"));
    }
}

#[test]
fn rfc9745_4_a_sunset_before_the_deprecation_is_refused() {
    let both = |deprecated_at, sunset_at| {
        DeprecationLayer::builder()
            .with_deprecated_at(at(deprecated_at))
            .with_sunset_at(at(sunset_at))
            .build()
            .map(drop)
    };
    assert_eq!(both(100, 99), Err(ConfigError::SunsetBeforeDeprecation));
    assert_eq!(both(100, 100), Ok(()));
    assert_eq!(both(100, 101), Ok(()));
}

#[test]
fn dates_that_no_header_can_carry_are_refused() {
    for time in [
        UNIX_EPOCH - Duration::from_secs(1),
        UNIX_EPOCH - Duration::from_nanos(1),
        at(253_402_300_800),
    ] {
        let builder = DeprecationLayer::builder;
        let results = [
            builder().with_deprecated_at(time).build(),
            builder().with_sunset_at(time).build(),
        ];
        for result in results {
            assert_eq!(result.unwrap_err(), ConfigError::DateOutOfRange);
        }
    }
}

#[tokio::test]
async fn rfc9745_3_links_stand_alone_and_beside_those_of_the_handler() {
    let builder = DeprecationLayer::builder()
        .with_policy(UriRef::from_static("https://example.com/policy?v=1,2#a"))
        .with_sunset_policy(UriRef::from_static("/sunset"))
        .with_successor(UriRef::from_static("/v2"));
    let inner = Response::builder()
        .header("link", "</a>; rel=\"next\"")
        .body(())
        .unwrap();
    let headers = headers_around(builder, inner).await;
    let links: Vec<_> = headers.get_all("link").iter().collect();
    assert_eq!(
        links,
        [
            "</a>; rel=\"next\"",
            "<https://example.com/policy?v=1,2#a>; rel=\"deprecation\", </sunset>; rel=\"sunset\", \
             </v2>; rel=\"successor-version\"",
        ]
    );
    assert!(!headers.contains_key("deprecation"));
}

#[tokio::test]
async fn the_dates_of_the_handler_win_as_a_pair() {
    for (name, value) in [
        ("deprecation", "@4102444800"),
        ("sunset", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ] {
        let builder = DeprecationLayer::builder()
            .with_deprecated_at(at(100))
            .with_sunset_at(at(200))
            .with_policy(UriRef::from_static("/policy"));
        let inner = Response::builder().header(name, value).body(()).unwrap();
        let headers = headers_around(builder, inner).await;
        assert_eq!(headers[name], value);
        assert!(
            !(headers.contains_key("deprecation") && headers.contains_key("sunset")),
            "a date of the layer beside one of the handler may contradict it"
        );
        assert!(headers.contains_key("link"));
    }
}

#[tokio::test]
async fn errors_are_announced_too() {
    let builder = DeprecationLayer::builder().with_deprecated_at(at(100));
    let inner = Problem::new(&blank::NOT_FOUND).into_http().map(drop);
    assert_eq!(inner.status(), StatusCode::NOT_FOUND);
    let headers = headers_around(builder, inner).await;
    assert_eq!(headers["deprecation"], "@100");
    assert_eq!(headers["content-type"], "application/problem+json");
}
