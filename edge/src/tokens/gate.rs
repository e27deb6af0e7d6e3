//! Whether a request may have what it asks for, and which session it is charged to.

use super::carried;
use http::HeaderMap;
use std::sync::Arc;
use weir_protocol::{
    CanonicalPath, PublisherId, RelayId, TokenHash, UnixMillis,
    keys::KeyRing,
    time::CLOCK_SKEW_MS,
    token::{SessionClaims, TokenError, UnverifiedToken},
};
use weir_relay::meter::{Meter, Session};

/// What the gate must know of the publishers that are served here.
pub trait Publishers: Send + Sync + 'static {
    /// The keys in force; `None` for a publisher that is not served here, or that has no keys.
    fn ring(&self, publisher: &PublisherId) -> Option<Arc<KeyRing>>;
    /// Whether nothing is served without a token.
    fn requires_token(&self, publisher: &PublisherId) -> bool;
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The publisher wants a token, and there is none.
    Missing,
    /// The token is not good (RFC 6750 section 3.1: `invalid_token`).
    Invalid(TokenError),
    /// It was issued by another publisher than the one whose content is asked for.
    Foreign,
    /// It is not for this path.
    OutsidePrefix,
    /// It assigns the session to other relays.
    NotAssigned,
    /// This relay has no room for another session.
    TooMany,
}

/// How a request is let in.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// What it is charged to; `None` for an anonymous one, and where nothing is counted.
    pub session: Option<Arc<Session>>,
    /// The token, when it came by the query: playlists carry it onward.
    pub onward: Option<Arc<str>>,
}

/// The gate in front of all content.
pub struct Gate {
    me: RelayId,
    publishers: Arc<dyn Publishers>,
    meter: Option<Meter>,
}

impl Gate {
    /// A gate for the content of these publishers. Without a meter tokens are verified and nothing is counted.
    pub fn new(me: RelayId, publishers: Arc<dyn Publishers>, meter: Option<Meter>) -> Self {
        Self { me, publishers, meter }
    }

    /// The meter.
    pub fn meter(&self) -> Option<&Meter> {
        self.meter.as_ref()
    }

    /// Lets a request in, or not. A token is taken out of the headers, so that it goes no further.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub fn admit(
        &self,
        publisher: &PublisherId,
        path: &CanonicalPath,
        query: Option<&str>,
        headers: &mut HeaderMap,
        now: UnixMillis,
    ) -> Result<Admission, NotAdmitted> {
        let ours = |issuer: &PublisherId| self.publishers.ring(issuer).is_some();
        let Some(token) = carried::take(query, headers, ours) else {
            return match self.publishers.requires_token(publisher) {
                true => Err(NotAdmitted::Missing),
                false => Ok(Admission::default()),
            };
        };
        let ring = self.publishers.ring(publisher).ok_or(NotAdmitted::Foreign)?;
        let known = self.meter.as_ref().and_then(|meter| meter.open_session(publisher, &TokenHash::of(&token.compact)));
        let session = match known {
            Some(session) => {
                // A key that was revoked meanwhile, or a time that has come.
                if now.minus_ms(CLOCK_SKEW_MS) >= UnixMillis::from_secs(session.claims.exp) {
                    return Err(NotAdmitted::Invalid(TokenError::Expired));
                }
                if ring.key_around(&session.kid, now).is_none() {
                    return Err(NotAdmitted::Invalid(TokenError::BadSignature));
                }
                self.covers(&session.claims, path)?;
                Some(session)
            }
            None => {
                let parsed = UnverifiedToken::parse(&token.compact).map_err(NotAdmitted::Invalid)?;
                if parsed.issuer() != publisher {
                    return Err(NotAdmitted::Foreign);
                }
                let kid = *parsed.kid();
                let key = ring.key_around(&kid, now).ok_or(NotAdmitted::Invalid(TokenError::BadSignature))?;
                let claims = parsed.verify(key, now, CLOCK_SKEW_MS).map_err(NotAdmitted::Invalid)?;
                self.covers(&claims, path)?;
                match &self.meter {
                    None => None,
                    Some(meter) => {
                        let session = meter.session(*publisher, &token.compact, kid, &claims);
                        Some(session.map_err(|_| NotAdmitted::TooMany)?)
                    }
                }
            }
        };
        Ok(Admission { session, onward: token.by_query.then(|| token.compact.into()) })
    }

    fn covers(&self, claims: &SessionClaims, path: &CanonicalPath) -> Result<(), NotAdmitted> {
        if !claims.covers(path) {
            return Err(NotAdmitted::OutsidePrefix);
        }
        if !claims.assigns(&self.me) {
            return Err(NotAdmitted::NotAssigned);
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::{
        EvidenceKey,
        keys::{KeyEntry, RootKey, SigningKey, SigningKeyList},
        token::TokenUse,
    };
    use weir_relay::{
        clock::Clock,
        meter::{Journal, MeterConfig},
    };

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    struct One(Arc<KeyRing>, bool);

    impl Publishers for One {
        fn ring(&self, publisher: &PublisherId) -> Option<Arc<KeyRing>> {
            (self.0.publisher() == *publisher).then(|| self.0.clone())
        }

        fn requires_token(&self, _: &PublisherId) -> bool {
            self.1
        }
    }

    fn ring() -> Arc<KeyRing> {
        let (root, key) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let expires = NOW.plus_ms(1 << 40);
        let keys = vec![KeyEntry::new(&key, UnixMillis(0), expires)];
        let list = SigningKeyList { publisher: root.publisher_id(), issued: NOW, expires, keys };
        KeyRing::verify(root.publisher_id(), &list.sign(&root).unwrap(), NOW).unwrap().into()
    }

    fn me() -> RelayId {
        EvidenceKey::from_bytes(&[3; 32]).relay_id()
    }

    fn claims() -> SessionClaims {
        SessionClaims {
            iss: ring().publisher(),
            sid: "s".into(),
            prefix: "/film/".into(),
            exp: NOW.as_secs() + 3600,
            nbf: None,
            iat: Some(NOW.as_secs()),
            max_bytes: None,
            cnf: None,
            relays: Vec::new(),
            usage: TokenUse::Viewer,
        }
    }

    fn sign(claims: &SessionClaims) -> String {
        claims.sign(&SigningKey::from_bytes(&[2; 32])).unwrap()
    }

    fn meter(folder: &std::path::Path) -> Meter {
        let journal = Journal::open(&folder.join("journal.redb")).unwrap();
        Meter::new(journal, EvidenceKey::from_bytes(&[3; 32]), Clock::System, MeterConfig::default()).0
    }

    fn ask(gate: &Gate, token: &str, path: &str, now: UnixMillis) -> Result<Admission, NotAdmitted> {
        let path = CanonicalPath::parse(path).unwrap();
        let query = format!("weir_token={token}");
        gate.admit(&ring().publisher(), &path, Some(&query), &mut HeaderMap::new(), now)
    }

    #[test]
    fn a_good_token_opens_one_session_and_every_other_is_told_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::new(me(), Arc::new(One(ring(), true)), Some(meter(folder.path())));
        let good = sign(&claims());
        let first = ask(&gate, &good, "/film/a.ts", NOW).unwrap();
        let second = ask(&gate, &good, "/film/b.ts", NOW).unwrap();
        assert!(Arc::ptr_eq(first.session.as_ref().unwrap(), second.session.as_ref().unwrap()));
        assert_eq!(first.onward.as_deref(), Some(good.as_str()));
        let fails = |token: &str, path: &str, now| ask(&gate, token, path, now).unwrap_err();
        assert_eq!(fails(&good, "/films/a.ts", NOW), NotAdmitted::OutsidePrefix);
        let late = NOW.plus_ms(3_600_000 + CLOCK_SKEW_MS);
        assert_eq!(fails(&good, "/film/a.ts", late), NotAdmitted::Invalid(TokenError::Expired));
        let fresh = sign(&SessionClaims { sid: "t".into(), ..claims() });
        assert_eq!(fails(&fresh, "/film/a.ts", late), NotAdmitted::Invalid(TokenError::Expired));
        let other = EvidenceKey::from_bytes(&[4; 32]).relay_id();
        let elsewhere = sign(&SessionClaims { relays: vec![other], ..claims() });
        assert_eq!(fails(&elsewhere, "/film/a.ts", NOW), NotAdmitted::NotAssigned);
        let here = sign(&SessionClaims { relays: vec![other, me()], ..claims() });
        assert!(ask(&gate, &here, "/film/a.ts", NOW).is_ok());
        let foreign = sign(&SessionClaims { iss: PublisherId([9; 32]), ..claims() });
        assert_eq!(fails(&foreign, "/film/a.ts", NOW), NotAdmitted::Foreign);
        let forged = claims().sign(&SigningKey::from_bytes(&[7; 32])).unwrap();
        assert_eq!(fails(&forged, "/film/a.ts", NOW), NotAdmitted::Invalid(TokenError::BadSignature));
        let tampered = format!("{}A", &good[..good.len() - 1]);
        assert!(matches!(fails(&tampered, "/film/a.ts", NOW), NotAdmitted::Invalid(_)));
        assert!(matches!(fails("nonsense", "/film/a.ts", NOW), NotAdmitted::Invalid(_)));
        let path = CanonicalPath::parse("/film/a.ts").unwrap();
        let none = gate.admit(&ring().publisher(), &path, None, &mut HeaderMap::new(), NOW).unwrap_err();
        assert_eq!(none, NotAdmitted::Missing);
    }

    #[test]
    fn without_a_token_a_session_is_anonymous_where_the_publisher_allows_it() {
        let gate = Gate::new(me(), Arc::new(One(ring(), false)), None);
        let path = CanonicalPath::parse("/film/a.ts").unwrap();
        let admission = gate.admit(&ring().publisher(), &path, Some("a=b"), &mut HeaderMap::new(), NOW).unwrap();
        assert!(admission.session.is_none() && admission.onward.is_none());
        assert!(ask(&gate, "nonsense", "/film/a.ts", NOW).is_err(), "a bad token is no anonymity");
    }
}
