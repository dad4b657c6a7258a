//! The transactional guarantee: the record commits with the handler's writes.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use purlin_problem::BoxError;
use tokio::{sync::watch, time::Instant};
use tower_service::Service;

use super::{Answered, Exchange, Stop, Turn, Verdict, work};
use crate::{
    Event, Rejection, RequestBody, TransactionalStore,
    in_process::Place,
    store::{Begun, Settled, UnitOfWork},
};

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) async fn run_transactional<S, R>(
        mut self,
        store: &dyn TransactionalStore,
        mut ready: S,
    ) -> Answered<R, S::Error>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let begun = Instant::now();
        let (_place, mut unit) = match self.begin(store).await {
            Ok(begun) => begun,
            Err(stop) => return Ok(self.cx.stop(stop)),
        };
        // Its client may leave now: the work is carried on, so that the retry finds its answer.
        self.cx.working.set(true);
        let (_, never_lost) = watch::channel(false);
        let execution = self.cx.execution(None, never_lost);
        let mut request = self.request(execution);
        unit.share(request.extensions_mut());
        let limits = self.cx.limits();
        let work = work::execute(&mut ready, request, limits).await;
        let verdict = self.cx.verdict(&work);
        let outcome = verdict.outcome;
        let settled = self.settle_unit(unit, verdict).await;
        self.cx.tell(&Event::Executed {
            id: self.cx.id,
            attempt: 1,
            outcome,
            took: begun.elapsed(),
        });
        match settled {
            Ok(()) => self.cx.respond(work),
            Err(stop) => Ok(self.cx.stop(stop)),
        }
    }

    async fn begin(
        &mut self,
        store: &dyn TransactionalStore,
    ) -> Result<(Place, Box<dyn UnitOfWork>), Stop> {
        loop {
            let finding = match self.look_around().await? {
                Turn::Ask(place, until) => {
                    let begin = store.begin(&self.cx.id);
                    match self.cx.ask_by(until, "begin", begin).await {
                        Ok(Begun::Started(unit)) => {
                            place.works();
                            return Ok((place, unit));
                        }
                        Ok(Begun::Busy) => place.refused(None),
                        Ok(Begun::Existing(existing)) => place.refused(Some(existing)),
                        Err(error) => return Err(self.cx.store_unavailable(error)),
                    }
                }
                Turn::Told(finding) => finding,
                Turn::Missed(error) => return Err(self.cx.store_unavailable(error)),
            };
            self.judge(finding).await?;
            self.cx.wait().await?;
        }
    }

    async fn settle_unit(
        &mut self,
        unit: Box<dyn UnitOfWork>,
        verdict: Verdict,
    ) -> Result<(), Stop> {
        let effective = verdict.succeeded;
        let Some((answer, completion)) = verdict.kept else {
            if let Err(error) = self.cx.ask("roll back", unit.roll_back()).await {
                // Its connection is gone, and with it the transaction.
                tracing::warn!(%error, record = %self.cx.id, "could not roll back");
            }
            return Ok(());
        };
        let settled = if effective {
            self.cx.ask("commit", unit.commit(&completion)).await
        } else {
            self.cx.ask("refuse", unit.refuse(&completion)).await
        };
        match settled {
            Ok(Settled::Applied) => {
                self.cx.remember_own(&answer, &completion);
                Ok(())
            }
            Ok(Settled::Lost) => Err(self.cx.others_answer().await),
            Ok(Settled::NotReturned) if effective => {
                tracing::error!(record = %self.cx.id, "the handler has kept the transaction");
                Err(Rejection::NotCommitted.into())
            }
            Err(error) if effective => Err(self.cx.outcome_unknown(error)),
            // Nothing was done either way: the refusal holds, and a retry is looked at anew.
            Ok(Settled::NotReturned) => {
                tracing::warn!(record = %self.cx.id, "the handler has kept the transaction");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, record = %self.cx.id, "a refusal is not recorded");
                Ok(())
            }
        }
    }
}
