//! WebSocket handshakes (RFC 6455 §4.2.1, and RFC 8441 for HTTP/2).

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use http::{HeaderValue, Method, header};

use crate::{Problem, blank};

impl From<WebSocketUpgradeRejection> for Problem {
    fn from(rejection: WebSocketUpgradeRejection) -> Self {
        use WebSocketUpgradeRejection as Rejection;
        match rejection {
            Rejection::MethodNotGet(_) => Self::method_not_allowed([&Method::GET]),
            Rejection::MethodNotConnect(_) => Self::method_not_allowed([&Method::CONNECT]),
            Rejection::InvalidConnectionHeader(_)
            | Rejection::InvalidUpgradeHeader(_)
            | Rejection::InvalidProtocolPseudoheader(_)
            | Rejection::InvalidWebSocketVersionHeader(_)
            | Rejection::WebSocketKeyHeaderMissing(_) => {
                Self::new(&blank::BAD_REQUEST).with_detail(rejection)
            }
            // RFC 9110 §15.5.22 demands the field.
            Rejection::ConnectionNotUpgradable(_) => {
                Self::with_header_to_come(&blank::UPGRADE_REQUIRED)
                    .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
            }
            other => Self::internal(other),
        }
    }
}
