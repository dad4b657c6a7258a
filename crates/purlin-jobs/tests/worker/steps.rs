//! Steps, timers and signals, over the memory store in virtual time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use purlin_jobs::store::{NoteStore as _, Signalled, State};
use purlin_jobs::{JobAdmin as _, JobContext, JobError};
use tokio::time::{Instant, sleep};

use crate::common::{Fault, HOUR, Log, Store, enqueue, jobs, probe, run, secs, start, worker};

/// How often each step was run.
#[derive(Debug, Clone, Default)]
struct Runs(Arc<Mutex<Vec<&'static str>>>);

impl Runs {
    fn count(&self, step: &str) -> usize {
        let runs = self.0.lock().expect("nobody panics with it");
        runs.iter().filter(|run| **run == step).count()
    }

    /// A step that takes a second.
    async fn step<T>(&self, name: &'static str, value: T) -> Result<T, JobError> {
        sleep(secs(1)).await;
        self.0.lock().expect("nobody panics with it").push(name);
        Ok(value)
    }
}

/// A failure, a snooze, a crash, a store that is away and an answer that is lost.
#[tokio::test(start_paused = true)]
async fn a_step_that_is_finished_is_not_run_again() {
    let (store, log, runs) = (Store::new(), Log::default(), Runs::default());
    let inside = runs.clone();
    let attempts = Arc::new(AtomicU32::new(0));
    let handler = move |_, context: JobContext| {
        let (runs, attempts) = (inside.clone(), Arc::clone(&attempts));
        async move {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed);
            let number = context
                .step("charge", || runs.step("charge", 7_u32))
                .await?;
            match attempt {
                0 => return Err(JobError::retry("it did not work")),
                1 => return Err(JobError::snooze(secs(5))),
                2 => std::future::pending::<()>().await,
                _ => {}
            }
            let text = context
                .step("mail", || runs.step("mail", format!("number {number}")))
                .await?;
            context.keep_result(&text, HOUR)?;
            Ok(())
        }
    };
    store.fail("note", Fault::Refused, 3);
    let dies = start(worker(&store, &log, handler.clone()));
    let id = enqueue(&store, probe(1)).await;
    log.has("started 2", 2).await;
    sleep(secs(2)).await;
    dies.kill().await;
    store.fail("note", Fault::ReplyLost, 1);
    store.fail("recall", Fault::Refused, 2);
    let lives = start(worker(&store, &log, handler));
    log.has("done 2", 1).await;
    assert_eq!((runs.count("charge"), runs.count("mail")), (1, 1));
    let kept = jobs(&store).result::<String>(id).await.unwrap();
    assert_eq!(kept.as_deref(), Some("number 7"));
    lives.end().await.unwrap();
}

/// The process dies at any moment: what is recorded is not run again, and what is not is run at most once more for each death.
#[tokio::test(start_paused = true)]
async fn whenever_the_worker_dies_no_recorded_step_is_run_again() {
    const STEPS: [&str; 3] = ["reserve", "charge", "mail"];
    for quarters in 0..16 {
        let (store, log, runs) = (Store::new(), Log::default(), Runs::default());
        let inside = runs.clone();
        let handler = move |_, context: JobContext| {
            let runs = inside.clone();
            async move {
                for name in STEPS {
                    context.step(name, || runs.step(name, ())).await?;
                    sleep(Duration::from_millis(250)).await;
                }
                Ok(())
            }
        };
        store.fail("note", Fault::ReplySlow, u32::MAX);
        let dies = start(worker(&store, &log, handler.clone()));
        let id = enqueue(&store, probe(1)).await;
        log.has("started 1", 1).await;
        sleep(Duration::from_millis(10) + Duration::from_millis(250) * quarters).await;
        dies.kill().await;
        let recorded = store.inner.recall(id).await.unwrap().unwrap_or_default();
        let recorded: Vec<_> = recorded.notes.into_iter().map(|note| note.name).collect();
        let before: Vec<_> = STEPS.iter().map(|name| runs.count(name)).collect();
        store.heal();
        let lives = start(worker(&store, &log, handler));
        log.has("done 1", 1).await;
        for (name, before) in STEPS.iter().zip(before) {
            let again = runs.count(name) - before;
            let expected = usize::from(!recorded.iter().any(|it| it == name));
            assert_eq!(again, expected, "{name} of {recorded:?} at {quarters}");
        }
        lives.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_is_run_again() {
    let (store, log, runs) = (Store::new(), Log::default(), Runs::default());
    let inside = runs.clone();
    run!(store, log, "done 2", |context| {
        let runs = inside.clone();
        async move {
            let attempt = context.info().attempt;
            context
                .step("charge", || async {
                    runs.step("charge", ()).await?;
                    if attempt == 1 {
                        return Err(JobError::retry("no money"));
                    }
                    Ok(())
                })
                .await
        }
    });
    assert_eq!(runs.count("charge"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_zombie_records_nothing_and_ends_as_lost() {
    let (store, log) = (Store::new(), Log::default());
    let (inside, told) = (store.clone(), Arc::new(Mutex::new(Vec::new())));
    let errors = Arc::clone(&told);
    run!(store, log, "done 1", |context| {
        let (store, errors) = (inside.clone(), Arc::clone(&errors));
        async move {
            let is_first = errors.lock().unwrap().is_empty();
            if is_first {
                store.fail("note", Fault::TakenAway, 1);
            }
            let stepped = context.step("charge", async || Ok(())).await;
            errors.lock().unwrap().push(format!("{stepped:?}"));
            stepped
        }
    });
    assert_eq!(*told.lock().unwrap(), ["Err(Lost)", "Ok(())"]);
    assert_eq!((log.count("stale 1"), log.count("retried 1")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sleep_takes_no_slot_and_spends_no_attempt() {
    let (store, log) = (Store::new(), Log::default());
    let begun = Instant::now();
    let started = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&started);
    let running = start(worker(&store, &log, move |_, context: JobContext| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            context.sleep("cool-off", HOUR).await?;
            context.sleep("again", Duration::from_millis(1_500)).await?;
            Ok(())
        }
    }));
    let id = enqueue(&store, probe(1)).await;
    log.has("snoozed 1", 1).await;
    sleep(secs(60)).await;
    let sleeping = store.view(id).await.unwrap();
    assert_eq!((sleeping.state, sleeping.failures), (State::Scheduled, 0));
    // Whoever wakes it too early lets it sleep on.
    store.inner.replay(id).await.unwrap();
    log.has("snoozed 1", 2).await;
    log.has("done 1", 1).await;
    let took = begun.elapsed();
    assert!(took >= HOUR + Duration::from_millis(1_500), "{took:?}");
    assert!(took <= HOUR + secs(5), "{took:?}");
    assert_eq!(started.load(Ordering::Relaxed), 4);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_waited_for() {
    for early in [true, false] {
        let (store, log) = (Store::new(), Log::default());
        let begun = Instant::now();
        let running = start(worker(&store, &log, |_, context: JobContext| async move {
            let approved = context.wait_for_signal::<String>("approved", HOUR).await?;
            if context.info().attempt == 1 {
                return Err(JobError::retry("the next one gets it too"));
            }
            context.keep_result(&approved, HOUR)?;
            Ok(())
        }));
        let id = probe(1).id();
        let job = probe(1)
            .with_id(id)
            .with(|o| o.with_delay(secs(if early { 5 } else { 0 })));
        enqueue(&store, job).await;
        let jobs = jobs(&store);
        if !early {
            log.has("snoozed 1", 1).await;
            sleep(secs(60)).await;
        }
        let told = jobs.signal(id, "approved", "by Ada").await.unwrap();
        assert_eq!(told, Signalled::Sent);
        let told = jobs.signal(id, "approved", "by Bob").await.unwrap();
        assert_eq!(told, Signalled::Existing);
        log.has("done 2", 1).await;
        let kept = jobs.result::<Option<String>>(id).await.unwrap();
        assert_eq!(kept, Some(Some("by Ada".to_owned())));
        assert_eq!(log.count("snoozed 1"), usize::from(!early));
        assert!(begun.elapsed() < secs(100), "as soon as it has come");
        let told = jobs.signal(id, "approved", "too late").await.unwrap();
        assert_eq!(told, Signalled::Unknown);
        running.end().await.unwrap();
    }
}

/// And every later attempt waits in vain too.
#[tokio::test(start_paused = true)]
async fn a_signal_that_does_not_come_is_none() {
    let (store, log) = (Store::new(), Log::default());
    let begun = Instant::now();
    let running = start(worker(&store, &log, |_, context: JobContext| async move {
        let approved = context.wait_for_signal::<u8>("approved", HOUR).await?;
        if context.info().attempt == 1 {
            return Err(JobError::retry("once more"));
        }
        context.keep_result(&approved, HOUR)?;
        Ok(())
    }));
    let id = enqueue(&store, probe(1)).await;
    log.has("retried 1", 1).await;
    assert!(begun.elapsed() >= HOUR);
    let jobs = jobs(&store);
    let late = jobs.signal(id, "approved", &1).await.unwrap();
    assert_eq!(late, Signalled::Existing);
    log.has("done 2", 1).await;
    assert_eq!(jobs.result::<Option<u8>>(id).await.unwrap(), Some(None));
    running.end().await.unwrap();
}

/// It is sent in each moment of the attempt that begins to wait.
#[tokio::test(start_paused = true)]
async fn a_signal_is_not_lost_to_the_wait_that_begins() {
    for eighths in 0..40 {
        let (store, log) = (Store::new(), Log::default());
        for call in ["recall", "note", "settle"] {
            store.fail(call, Fault::ReplySlow, 1);
        }
        let running = start(worker(&store, &log, |_, context: JobContext| async move {
            let approved = context.wait_for_signal::<u8>("approved", HOUR).await?;
            assert_eq!(approved, Some(1));
            Ok(())
        }));
        let begun = Instant::now();
        let id = enqueue(&store, probe(1)).await;
        sleep(Duration::from_millis(125) * eighths + Duration::from_millis(1)).await;
        let sent = jobs(&store).signal(id, "approved", &1).await.unwrap();
        assert_eq!(sent, Signalled::Sent);
        log.has("done 1", 1).await;
        assert!(begun.elapsed() < secs(60), "at {eighths}");
        running.end().await.unwrap();
    }
}
