//! Redis servers that die, freeze and come back, and replies that are lost.

use purlin_idempotency::{
    IdempotencyStore as _, Key, KeySyntax, LeaseLost, RecordId, Scope, store::Claim,
};
use purlin_testkit::{FaultProxy, RedisServer};

use crate::{
    LEASE_TTL,
    ground::{Ground, Kind, Open, Place},
    scene::{STORE_TIMEOUT, Scene, ask, ended},
    stops::Point,
    work::Mode,
};

fn name(what: &str, point: Point) -> String {
    format!("Redis: {what} | Leased | {}", point.name())
}

/// A write that Redis has answered survives the end of its process with either setting; what differs
/// is a loss of power.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_breaks_under_requests_and_comes_back() {
    for fsync in ["always", "everysec"] {
        for freeze in [false, true] {
            let Some(mut server) = RedisServer::start_with(&["--appendfsync", fsync]) else {
                return;
            };
            let mut scenes = Vec::new();
            for point in [Point::BeforeClaim, Point::InHandler, Point::Written] {
                // What a frozen server has in its socket is executed when it thaws.
                if freeze && point == Point::InHandler {
                    continue;
                }
                let prefix = format!("test{}", scenes.len());
                let ground = Ground::on_redis(&server.url(), &prefix).await;
                let place = Place {
                    server_timeout: STORE_TIMEOUT,
                    ..ground.place.clone()
                };
                let open = place.open(1).await;
                let what = if freeze { "frozen" } else { "killed" };
                let name = name(&format!("{what}, appendfsync {fsync}"), point);
                let mut setup = Scene::setup(Mode::Leased, Some(point));
                if freeze && point == Point::BeforeClaim {
                    // The claim is made when it thaws, perhaps after it was undone.
                    setup.lease_lost = LeaseLost::Reexecute;
                }
                scenes.push(Scene::with(setup, name, ground, &open, Some(point)));
            }
            let mut tasks = Vec::new();
            for scene in &scenes {
                tasks.push(scene.begin().await);
            }
            if freeze {
                server.freeze();
            } else {
                server.kill();
            }
            for scene in &scenes {
                scene.stops.go_on();
            }
            let mut answers = Vec::new();
            for task in tasks {
                answers.push(ended(task).await);
            }
            if freeze {
                server.thaw();
            } else {
                server.restart();
            }
            for (scene, first) in scenes.iter().zip(&answers) {
                scene.recover(first).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_restarts_while_nothing_happens() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let ground = Ground::on_redis(&server.url(), "test").await;
    let place = Place {
        server_timeout: STORE_TIMEOUT,
        ..ground.place.clone()
    };
    let open = place.open(1).await;
    let name = "Redis: restarted between two requests | Leased | idle".to_owned();
    let scene = Scene::new(name, ground, &open, Mode::Leased, None);
    let first = ask(scene.service.clone()).await;
    assert_eq!(first.status.as_u16(), 201);
    server.kill();
    server.restart();
    scene.recover(&first).await;
}

/// The claim or the completion does not reach Redis, or its reply does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_or_its_reply_is_lost() {
    for point in [Point::BeforeClaim, Point::Written] {
        for reply in [true, false] {
            let Some(ground) = Ground::create(Kind::Redis).await else {
                return;
            };
            let proxy = FaultProxy::before(&ground.place.url).await;
            let place = Place {
                url: proxy.url(&ground.place.url),
                server_timeout: STORE_TIMEOUT,
                ..ground.place.clone()
            };
            let open = place.open(1).await;
            let Open::Redis { store, .. } = &open else {
                unreachable!("it is Redis");
            };
            // What is lost is neither the connection's beginning nor a question for the script.
            let key = Key::parse(b"another", KeySyntax::Lenient).unwrap();
            let other = RecordId::new("", &Scope::single_tenant(), &key);
            store.claim(&Claim::new(other, LEASE_TTL)).await.unwrap();

            let what = if reply { "reply lost" } else { "command lost" };
            let name = name(what, point);
            let scene = Scene::new(name, ground, &open, Mode::Leased, Some(point));
            let task = scene.begin().await;
            let first = if reply {
                // It is executed, and nobody hears of it.
                proxy.hold_replies();
                scene.stops.go_on();
                proxy.held().await;
                proxy.cut();
                ended(task).await
            } else {
                proxy.swallow();
                scene.stops.go_on();
                let first = ended(task).await;
                proxy.cut();
                first
            };
            proxy.pass();
            scene.recover(&first).await;
        }
    }
}
