//! Who asks for what: the session of a request, its query, and the connection that answers it; and
//! forms, which are read with a bound and only when they come from a page of ours.

use std::sync::Arc;
use std::time::Instant;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, COOKIE};
use axum::http::request::Parts;
use redis::{RedisResult, Value};
use tokio::sync::Semaphore;

use crate::fault::Fault;
use crate::guard::{Permit, check_origin, permit};
use crate::limits::{FORM_BYTES, FORM_TIME, WATCHERS};
use crate::query::Pairs;
use crate::server::{Asker, Server};
use crate::session::{Session, Sessions, token};

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) server: Server,
    pub(crate) sessions: Sessions,
    /// Room for those who watch.
    pub(crate) watchers: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(server: Server) -> Arc<Self> {
        let watchers = Arc::new(Semaphore::new(WATCHERS));
        Arc::new(Self { server, sessions: Sessions::new(), watchers })
    }
}

/// One request.
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) query: Pairs,
    /// Of the session, to look whether it goes on, or to end it.
    pub(crate) token: Option<String>,
}

impl FromRequestParts<Arc<Shared>> for Visit {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Fault> {
        let cookies = parts.headers.get(COOKIE).and_then(|value| value.to_str().ok());
        let token = cookies.and_then(token).map(str::to_owned);
        let session = token.as_ref().and_then(|token| shared.sessions.find(token, Instant::now()));
        let query = Pairs::of_query(parts.uri.query().unwrap_or_default().as_bytes());
        Ok(Self { shared: Arc::clone(shared), session, query, token })
    }
}

impl Visit {
    /// The connection as who asks.
    pub(crate) async fn asker(&self) -> Result<Asker, Fault> {
        match &self.session {
            Some(session) => Ok(session.asker.clone()),
            None => Ok(self.shared.server.reader().await?),
        }
    }

    /// Asks what only reads. A connection that broke is forgotten, and with it the session that it
    /// was: whoever was signed in signs in again.
    pub(crate) async fn read(&self, words: &[&[u8]]) -> RedisResult<Value> {
        let answer = match &self.session {
            Some(session) => session.asker.read(words).await,
            None => self.shared.server.reader().await?.read(words).await,
        };
        self.heed(answer).await
    }

    /// The same of several questions.
    pub(crate) async fn read_all(
        &self,
        questions: &[Vec<&[u8]>],
    ) -> Result<Vec<RedisResult<Value>>, Fault> {
        let answers = self.asker().await?.read_all(questions).await;
        for answer in &answers {
            let _ = self.heed(answer.clone()).await;
        }
        Ok(answers)
    }

    /// Does what a form of somebody who has signed in says.
    pub(crate) async fn change(&self, permit: &Permit, words: &[&[u8]]) -> Result<Value, Fault> {
        let answer = self.session()?.asker.change(permit, words).await;
        Ok(self.heed(answer).await?)
    }

    async fn heed(&self, answer: RedisResult<Value>) -> RedisResult<Value> {
        if let Err(error) = &answer
            && (error.is_unrecoverable_error() || error.is_connection_dropped())
        {
            match &self.token {
                Some(token) if self.session.is_some() => self.shared.sessions.close(token),
                _ => self.shared.server.forget_reader().await,
            }
        }
        answer
    }

    /// Whether who asked is still who they were: a session that ended is not watched on.
    pub(crate) fn is_current(&self) -> bool {
        match (&self.session, &self.token) {
            (Some(_), Some(token)) => self.shared.sessions.is_open(token, Instant::now()),
            _ => true,
        }
    }

    /// Who has signed in.
    pub(crate) fn session(&self) -> Result<&Session, Fault> {
        self.session.as_deref().ok_or(Fault::Refused("Sign in first."))
    }

    /// Lets a form of theirs do what it says.
    pub(crate) fn permit(&self, form: &Form) -> Result<Permit, Fault> {
        permit(self.session()?, &form.0)
    }
}

/// What a form of ours says.
pub(crate) struct Form(pub(crate) Pairs);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        check_origin(request.headers())?;
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind != Some("application/x-www-form-urlencoded") {
            return Err(Fault::Bad("This is no form.".to_owned()));
        }
        let body = tokio::time::timeout(FORM_TIME, to_bytes(request.into_body(), FORM_BYTES)).await;
        let Ok(Ok(body)) = body else {
            return Err(Fault::Bad("The form is too long, or did not come in time.".to_owned()));
        };
        Ok(Self(Pairs::parse(&body)))
    }
}
