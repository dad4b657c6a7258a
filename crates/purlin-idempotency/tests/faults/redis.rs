//! Redis servers that die, freeze and come back, and replies that are lost.

use purlin_idempotency::LeaseLost;
use purlin_testkit::{FaultProxy, RedisServer};

use crate::{
    ground::{Ground, Kind, Place},
    scene::{Scene, ask, ended},
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
                let open = ground.place.open(1).await;
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
    let open = ground.place.open(1).await;
    let name = "Redis: restarted between two requests | Leased | idle".to_owned();
    let scene = Scene::new(name, ground, &open, Mode::Leased, None);
    let first = ask(scene.service.clone()).await;
    assert_eq!(first.status.as_u16(), 201);
    server.kill();
    server.restart();
    scene.recover(&first).await;
}

/// The reply to the claim, or to the completion, is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_of_redis_is_lost() {
    for point in [Point::BeforeClaim, Point::Written] {
        let Some(ground) = Ground::create(Kind::Redis).await else {
            return;
        };
        let proxy = FaultProxy::before(&ground.place.url).await;
        let place = Place {
            url: proxy.url(&ground.place.url),
            ..ground.place.clone()
        };
        let open = place.open(1).await;
        let name = name("reply lost", point);
        let scene = Scene::new(name, ground, &open, Mode::Leased, Some(point));
        let task = scene.begin().await;
        // It is executed, and nobody hears of it.
        proxy.hold_replies();
        scene.stops.go_on();
        proxy.held().await;
        proxy.cut();
        proxy.pass();
        let first = ended(task).await;
        scene.recover(&first).await;
    }
}
