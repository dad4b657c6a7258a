//! What handlers keep and report, over the memory store in virtual time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use purlin_jobs::store::{NoteKind, NoteStore as _};
use purlin_jobs::{
    JobContext, JobError, JobId, JobStore as _, Jobs, NoteError, PayloadCodec, Progress, Waited,
    handler_fn,
};
use tokio::time::{Instant, sleep};

use crate::common::{
    Fault, HOUR, Log, Probe, Store, Transaction, bare_worker, enqueue, jobs, probe, run, secs,
    start, worker,
};

#[tokio::test(start_paused = true)]
async fn a_result_is_kept_for_its_time() {
    let (store, log) = (Store::new(), Log::default());
    let id = run!(store, log, "done 1", |context| async move {
        context.keep_result("first", HOUR)?;
        context.keep_result(&(7, "last"), HOUR)?;
        Ok(())
    });
    let jobs = jobs(&store);
    let kept = jobs.result(id).await.unwrap();
    assert_eq!(kept, Some((7, "last".to_owned())));
    let wrong = jobs.result::<bool>(id).await.unwrap_err();
    let text = wrong.to_string();
    assert!(text.starts_with("what is kept as the result cannot be read"));
    assert!(!text.contains("last"), "{text}");
    assert_eq!(jobs.result::<u8>(JobId::new()).await.unwrap(), None);
    sleep(HOUR).await;
    assert_eq!(jobs.result::<(u8, String)>(id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_leaves_no_result() {
    let (store, log) = (Store::new(), Log::default());
    let id = run!(store, log, "done 2", |context| async move {
        if context.info().attempt == 1 {
            context.keep_result("half", HOUR)?;
            return Err(JobError::retry("not yet"));
        }
        Ok(())
    });
    assert_eq!(jobs(&store).result::<String>(id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_waited_for() {
    let (store, log) = (Store::new(), Log::default());
    let running = start(worker(
        &store,
        &log,
        |job: Probe, context: JobContext| async move {
            sleep(secs(10)).await;
            match job.number {
                1 => context.keep_result(&5, HOUR)?,
                2 => {}
                _ => return Err(JobError::discard("no")),
            }
            Ok(())
        },
    ));
    let jobs = jobs(&store);
    let ids = [1, 2, 3].map(|number| probe(number).with_id(JobId::new()));
    let [one, two, three] = ids.each_ref().map(purlin_jobs::NewJob::id);
    jobs.enqueue_many(ids).await.unwrap();
    let begun = Instant::now();
    let early = jobs.wait_for_result::<u8>(one, secs(5)).await.unwrap();
    assert_eq!((early, begun.elapsed()), (Waited::Deadline, secs(5)));
    let result = jobs.wait_for_result::<u8>(one, HOUR).await.unwrap();
    assert_eq!(result, Waited::Result(5));
    assert!(begun.elapsed() <= secs(12));
    for id in [two, three] {
        let nothing = jobs.wait_for_result::<u8>(id, HOUR).await.unwrap();
        assert_eq!(nothing, Waited::Nothing);
    }
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_result_commits_with_the_job() {
    for transaction in [Transaction::Committed, Transaction::RolledBack] {
        let (store, log) = (Store::new(), Log::default());
        let inside = store.clone();
        let transaction = Arc::new(tokio::sync::Mutex::new(transaction));
        let commits = matches!(*transaction.lock().await, Transaction::Committed);
        let until = if commits { "done 1" } else { "retried 1" };
        let id = run!(store, log, until, |context| {
            let (store, transaction) = (inside.clone(), Arc::clone(&transaction));
            async move {
                context.keep_result("paid", HOUR)?;
                let mut transaction = transaction.lock().await;
                context.complete_in(&store, &mut *transaction).await?;
                Ok(())
            }
        });
        let kept = jobs(&store).result::<String>(id).await.unwrap();
        assert_eq!(kept.is_some(), commits);
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_written_now_and_then_and_the_last_one_wins() {
    let (store, log) = (Store::new(), Log::default());
    let running = start(worker(&store, &log, |_, context: JobContext| async move {
        for percent in 0..=100 {
            let progress = Progress::new(percent).with_message(format!("file {percent}"));
            context.report_progress(&progress)?;
            sleep(secs(1)).await;
        }
        sleep(secs(1)).await;
        Err(JobError::discard("at the very end"))
    }));
    let id = enqueue(&store, probe(1)).await;
    log.has("started 1", 1).await;
    assert_eq!(jobs(&store).progress(JobId::new()).await.unwrap(), None);
    sleep(Duration::from_millis(50_500)).await;
    // Each 5 s.
    assert_eq!(store.calls("note"), 11);
    let progress = jobs(&store).progress(id).await.unwrap().unwrap();
    assert_eq!((progress.percent, &*progress.message), (50, "file 50"));
    log.has("dead 1", 1).await;
    let last = jobs(&store).progress(id).await.unwrap().unwrap();
    assert_eq!((last.percent, &*last.message), (100, "file 100"));
    assert_eq!(store.calls("note"), 21);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_reported_last_is_there_though_the_attempt_fails_at_once() {
    let (store, log) = (Store::new(), Log::default());
    store.fail("note", Fault::Refused, 1);
    let id = run!(store, log, "retried 1", |context| async move {
        context.report_progress(&Progress::new(10))?;
        sleep(secs(1)).await;
        context.report_progress(&Progress::new(20))?;
        Err(JobError::retry("it did not work"))
    });
    assert_eq!(log.count("store_failed progress"), 1);
    let last = jobs(&store).progress(id).await.unwrap().unwrap();
    assert_eq!(last.percent, 20);
}

/// What was wrong is visible, and nothing of what is kept.
#[tokio::test(start_paused = true)]
async fn misuse_is_a_failure_that_says_what_is_wrong() {
    type Case =
        fn(JobContext) -> std::pin::Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;
    let cases: [(Case, &str); 7] = [
        (
            |context| {
                Box::pin(async move {
                    context.step("a", async || Ok(())).await?;
                    context.step("a", async || Ok(())).await
                })
            },
            "the step `a` was used twice in one attempt",
        ),
        (
            |context| {
                Box::pin(async move {
                    context.sleep("a", Duration::ZERO).await?;
                    context.sleep("a", Duration::ZERO).await
                })
            },
            "the timer `a` was used twice in one attempt",
        ),
        (
            |context| Box::pin(async move { context.step("", async || Ok(())).await }),
            "the name of a step, a timer or a signal must have 1 to 128 bytes",
        ),
        (
            |context| {
                Box::pin(async move {
                    let large = "x".repeat(256 << 10);
                    context.step("a", async || Ok(large)).await.map(drop)
                })
            },
            "the step `a` has 262146 bytes, and 262144 is the limit; keep where it can be found",
        ),
        (
            |context| Box::pin(async move { Ok(context.keep_result(&"x".repeat(1 << 20), HOUR)?) }),
            "the result has 1048578 bytes, and 1048576 is the limit; keep where it can be found",
        ),
        (
            |context| {
                Box::pin(async move {
                    let progress = Progress::new(1).with_message("x".repeat(1_025));
                    Ok(context.report_progress(&progress)?)
                })
            },
            "the message of a progress has 1025 bytes, and 1024 is the limit; keep where it can be found",
        ),
        (
            |context| {
                Box::pin(async move {
                    if context.info().attempt == 1 {
                        context
                            .step("a", async || Ok("a secret".to_owned()))
                            .await?;
                        return Err(JobError::retry("once more"));
                    }
                    context.step("a", async || Ok(7)).await.map(drop)
                })
            },
            "what is kept as the step `a` cannot be read: Data error at line 1 column 10",
        ),
    ];
    for (case, expected) in cases {
        let (store, log) = (Store::new(), Log::default());
        let running = start(worker(&store, &log, move |_, context| case(context)));
        let id = enqueue(&store, probe(1)).await;
        let attempt = if expected.starts_with("what") {
            "retried 2"
        } else {
            "retried 1"
        };
        log.has(attempt, 1).await;
        let failure = store.view(id).await.unwrap().failure.unwrap();
        assert_eq!(failure.error, expected);
        running.end().await.unwrap();
    }
}

/// Every byte of what it encodes is another, and it belongs to one kind and one job.
#[derive(Debug, Clone, Copy)]
struct Cipher;

impl PayloadCodec for Cipher {
    fn encode(&self, kind: &str, id: JobId, payload: Bytes) -> Bytes {
        let bound = format!("{kind} {id} ");
        let plain = bound.bytes().chain(payload);
        plain.map(|byte| !byte).collect()
    }

    fn decode(
        &self,
        kind: &str,
        id: JobId,
        stored: Bytes,
    ) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
        let plain: Vec<u8> = stored.iter().map(|byte| !byte).collect();
        let bound = format!("{kind} {id} ");
        let payload = plain.strip_prefix(bound.as_bytes());
        Ok(payload.ok_or("it is another's")?.to_vec().into())
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_kept_goes_through_the_codec() {
    let (store, log) = (Store::new(), Log::default());
    let handler = |_: Probe, context: JobContext| async move {
        context
            .step("charge", async || Ok("a secret".to_owned()))
            .await
            .map(drop)?;
        context.report_progress(&Progress::new(1).with_message("a secret"))?;
        let signal = context.wait_for_signal::<String>("approved", HOUR).await?;
        assert_eq!(signal.as_deref(), Some("a secret"));
        assert!(!format!("{context:?}").contains("secret"));
        context.keep_result("a secret", HOUR)?;
        if context.info().attempt == 1 {
            return Err(JobError::retry("once more"));
        }
        Ok(())
    };
    let coded = bare_worker(&store, &log).with_codec(Cipher);
    let running = start(coded.register(handler_fn(handler)));
    let jobs = jobs(&store).with_codec(Cipher);
    let id = jobs.enqueue(probe(1)).await.unwrap().id();
    jobs.signal(id, "approved", "a secret").await.unwrap();
    log.has("retried 1", 1).await;
    let notes = store.inner.recall(id).await.unwrap().unwrap();
    let kinds: Vec<_> = notes.notes.iter().map(|note| note.kind).collect();
    let expected = [NoteKind::Step, NoteKind::Signal, NoteKind::Progress];
    assert_eq!(kinds, expected);
    for note in &notes.notes {
        let value = note.value.clone().unwrap();
        assert!(!String::from_utf8_lossy(&value).contains("secret"));
        assert!(!format!("{note:?}").contains("secret"));
    }
    let progress = jobs.progress(id).await.unwrap().unwrap();
    assert_eq!(progress.message, "a secret");
    log.has("done 2", 1).await;
    let kept = jobs.result::<String>(id).await.unwrap();
    assert_eq!(kept.as_deref(), Some("a secret"));
    // Without the key it is no JSON.
    let plain = Jobs::new(store.clone()).result::<String>(id).await;
    assert!(matches!(plain, Err(NoteError::Read { .. })), "{plain:?}");
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_keeps_nothing_costs_nothing() {
    let (store, log) = (Store::new(), Log::default());
    run!(store, log, "done 1", |_context| async move { Ok(()) });
    assert_eq!((store.calls("note"), store.calls("recall")), (0, 0));
    assert_eq!(store.calls("settle"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_the_power_says_so() {
    let (store, log) = (Store::new(), Log::default());
    store.forgets();
    assert!(store.notes().is_none());
    let id = run!(store, log, "retried 1", |context| async move {
        let errors = [
            context.keep_result("a", HOUR).unwrap_err(),
            context.report_progress(&Progress::new(1)).unwrap_err(),
        ];
        for error in errors {
            let NoteError::Store(error) = error else {
                panic!("{error:?}");
            };
            assert_eq!(error.kind(), purlin_store::StoreErrorKind::Refused);
        }
        context.step("charge", async || Ok(())).await
    });
    let failure = store.view(id).await.unwrap().failure.unwrap();
    let expected =
        "faulty: note: refused by the store: this store keeps no notes of jobs (`JobStore::notes`)";
    assert_eq!(failure.error, expected);
    let error = jobs(&store).signal(id, "a", "b").await.unwrap_err();
    assert!(matches!(error, NoteError::Store(_)), "{error:?}");
}
