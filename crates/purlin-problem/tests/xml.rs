//! `application/problem+xml`, by RFC 9457 Appendix B.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use purlin_problem::{ExtName, Problem, ProblemLayer, ProblemType, UriRef, blank};
use quick_xml::{
    NsReader,
    events::Event,
    name::{Namespace, ResolveResult},
};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt, service_fn};

static EMPTY_SHELF: ProblemType = ProblemType::new(
    StatusCode::CONFLICT,
    "https://example.net/problems/empty-shelf?lang=en&v=1",
    "The shelf is empty",
);

const XML: &str = "application/problem+xml";
const JSON: &str = "application/problem+json";

async fn answer(layer: ProblemLayer, accept: &[&str], problem: fn() -> Problem) -> Response<Bytes> {
    let service = ServiceBuilder::new()
        .layer(layer)
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(problem().into_http().map(Full::new))
        }));
    let mut request = Request::get("/");
    for accept in accept {
        request = request.header(header::ACCEPT, *accept);
    }
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, body)
}

async fn xml(problem: fn() -> Problem) -> String {
    let response = answer(ProblemLayer::new().with_xml(), &[XML], problem).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], XML);
    String::from_utf8(response.into_body().into()).unwrap()
}

/// Each element as `/path` or `/path=text`, all of them in the one namespace.
fn elements(document: &str) -> Vec<String> {
    const NAMESPACE: ResolveResult<'_> = ResolveResult::Bound(Namespace("urn:ietf:rfc:7807"));
    let mut reader = NsReader::from_str(document);
    let (mut path, mut found) = (Vec::new(), Vec::<String>::new());
    loop {
        let (namespace, event) = reader.read_resolved_event().unwrap();
        match event {
            Event::Start(start) => {
                assert_eq!(namespace, NAMESPACE);
                path.push(start.name().as_ref().to_owned());
                found.push(format!("/{}", path.join("/")));
            }
            Event::Empty(start) => {
                assert_eq!(namespace, NAMESPACE);
                let name = start.name().as_ref().to_owned();
                found.push(format!("/{}/{name}", path.join("/")));
            }
            Event::Text(text) => {
                let last = found.last_mut().unwrap();
                if !last.contains('=') {
                    last.push('=');
                }
                last.push_str(&text);
            }
            Event::GeneralRef(entity) => {
                let last = found.last_mut().unwrap();
                if !last.contains('=') {
                    last.push('=');
                }
                last.push_str(match &*entity {
                    "lt" => "<",
                    "gt" => ">",
                    "amp" => "&",
                    "quot" => "\"",
                    "apos" => "'",
                    other => panic!("&{other}; is not defined"),
                });
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

#[tokio::test]
async fn appendix_b_the_document_in_its_namespace() {
    let document = xml(|| {
        Problem::new(&EMPTY_SHELF)
            .with_detail("None of <3> & \"none\" of 'x' are left")
            .with_instance(UriRef::from_static("/shelves/7#now"))
            .with_ext(ExtName::new("shelf"), &7)
            .with_ext(
                ExtName::new("sizes"),
                &json!(["S", 1.5, true, null, ["a"], { "of": "b" }]),
            )
            .with_ext(
                ExtName::new("next"),
                &json!({ "at": { "day": 3 }, "by": [] }),
            )
    })
    .await;
    assert!(document.starts_with(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><problem xmlns=\"urn:ietf:rfc:7807\">"
    ));
    assert_eq!(
        elements(&document),
        [
            "/problem",
            "/problem/type=https://example.net/problems/empty-shelf?lang=en&v=1",
            "/problem/title=The shelf is empty",
            "/problem/status=409",
            "/problem/detail=None of <3> & \"none\" of 'x' are left",
            "/problem/instance=/shelves/7#now",
            "/problem/next",
            "/problem/next/at",
            "/problem/next/at/day=3",
            "/problem/next/by",
            "/problem/shelf=7",
            "/problem/sizes",
            "/problem/sizes/i=S",
            "/problem/sizes/i=1.5",
            "/problem/sizes/i=true",
            "/problem/sizes/i",
            "/problem/sizes/i",
            "/problem/sizes/i/i=a",
            "/problem/sizes/i",
            "/problem/sizes/i/of=b",
        ]
    );
}

#[tokio::test]
async fn members_without_a_name_in_xml_are_left_out() {
    let document = xml(|| {
        Problem::new(&blank::GONE).with_ext(
            ExtName::new("members"),
            &json!({
                "": 1, "1st": 1, "-a": 1, ".a": 1, "a b": 1, "a:b": 1, "a>b": 1, "a/": 1, "×": 1,
                "\u{0}": 1, "a": 1, "_b-2.c": 1, "größe": 1, "数": 1,
            }),
        )
    })
    .await;
    let names: Vec<_> = elements(&document)
        .into_iter()
        .filter_map(|element| Some(element.strip_prefix("/problem/members/")?.to_owned()))
        .collect();
    assert_eq!(names, ["_b-2.c=1", "a=1", "größe=1", "数=1"]);
}

#[tokio::test]
async fn characters_that_xml_forbids_are_replaced() {
    let document =
        xml(|| Problem::new(&blank::GONE).with_detail("a\u{0}b\u{1b}c\u{fffe}d\te\nf\u{1f980}]]>"))
            .await;
    let detail = elements(&document).into_iter().nth(4).unwrap();
    assert_eq!(
        detail,
        "/problem/detail=a\u{fffd}b\u{fffd}c\u{fffd}d\te\nf\u{1f980}]]>"
    );
}

#[tokio::test]
async fn only_a_client_that_prefers_xml_gets_it() {
    for (accept, expected) in [
        (&[][..], JSON),
        (&["*/*"], JSON),
        (&["application/*"], JSON),
        (&["text/html"], JSON),
        (&[""], JSON),
        (&["nonsense"], JSON),
        (&["application/problem+xml"], XML),
        (&["Application/XML"], XML),
        (&["application/problem+xml; charset=utf-8; q=0.3"], XML),
        (&["application/xml;q=0.9, */*;q=0.8"], XML),
        (&["application/xml;q=0.8, */*;q=0.9"], JSON),
        (&["application/problem+xml, application/problem+json"], JSON),
        (&["application/problem+json, application/xml"], JSON),
        (
            &["application/problem+json;q=0.5, application/problem+xml"],
            XML,
        ),
        (&["application/problem+xml;q=0.5, application/json"], JSON),
        (&["application/problem+xml;q=0"], JSON),
        (&["application/json;q=0.1", "application/xml;q=0.2"], XML),
        (&["application/*;q=0.5, application/json;q=0.4"], JSON),
        (&["text/xml"], JSON),
        (&["image/svg+xml"], JSON),
    ] {
        let problem = || Problem::new(&blank::NOT_FOUND);
        let response = answer(ProblemLayer::new().with_xml(), accept, problem).await;
        assert_eq!(response.status(), 404);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            expected,
            "{accept:?}"
        );
        assert_eq!(response.headers()[header::VARY], "accept");
        // Without the option the field is not looked at.
        let response = answer(ProblemLayer::new(), accept, problem).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], JSON);
    }
}
