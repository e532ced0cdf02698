//! [`AwsKms`]: the SDK's client, the settings, and the loop of attempts around each call.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{Builder, Credentials, Region, StalledStreamProtectionConfig};
use aws_smithy_async::time::TimeSource;
use sealvol_core::{Clock, Entropy, SystemClock, SystemEntropy};
use sealvol_envelope::{KmsError, KmsErrorKind};

use crate::codes::{Class, Executed};
use crate::failure::Failure;
use crate::flights::Flights;
use crate::metrics::{Metrics, MetricsSnapshot, Operation};
use crate::retry::{Retry, Traits, Verdict};
use crate::settings::AwsKmsSettings;

/// The region that is signed with where an endpoint is given and no region.
const REGION_OF_ENDPOINTS: &str = "us-east-1";

/// AWS KMS as the owner of some credentials sees it.
///
/// # Retries
/// The SDK's own are off. Throttling, server faults and connection failures are tried again with
/// backoff inside [`AwsKmsSettings::call_deadline`]; a call that carries grant tokens goes on for
/// [`AwsKmsSettings::propagation_window`] when it is denied; other answers are final. The wait of
/// the window is also paid where the denial is meant, so do not attach tokens that are not needed.
///
/// An unnamed `create_grant` that may have been carried out (no answer, a server fault) is not
/// tried again, because that would make two grants: the error says so. Give grants names: a named
/// one is idempotent at AWS and is tried again like any call.
///
/// A `retire_grant` that finds no grant after an attempt whose outcome is not known has succeeded.
///
/// # Cancellation
/// Dropping a future gives up the attempt. Equal unwraps share a call, which goes on for the others.
///
/// # Runtime
/// It needs a tokio runtime with time and I/O, of any flavour, and may be used from several: a
/// connection whose runtime is gone is replaced.
pub struct AwsKms {
    pub(crate) inner: Arc<Inner>,
}

/// What calls share; calls that others may join outlive the borrow of [`AwsKms`].
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) settings: AwsKmsSettings,
    pub(crate) metrics: Metrics,
    pub(crate) flights: Flights,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// An access key that is given, and not found by the usual chain: for tests, and for embedders that
/// have their own source.
#[derive(Clone)]
pub struct StaticCredentials(Credentials);

impl StaticCredentials {
    /// An access key, with the session token of temporary credentials.
    #[must_use]
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
        session_token: Option<String>,
    ) -> Self {
        let (id, secret) = (access_key_id.into(), secret_access_key.into());
        Self(Credentials::new(id, secret, session_token, None, "sealvol"))
    }
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticCredentials({}, ..)", self.0.access_key_id())
    }
}

impl AwsKms {
    /// A client with credentials from the usual chain: environment, shared configuration files
    /// (with their profiles and assumed roles), web identity, container and instance roles. No call
    /// to KMS is made, and credentials are loaded by the first one.
    ///
    /// # Errors
    /// `Invalid` for impossible settings, a plain-HTTP endpoint elsewhere, or no region.
    pub async fn connect(settings: AwsKmsSettings) -> Result<Arc<Self>, KmsError> {
        Self::load(settings, None).await
    }

    /// A client with given credentials.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_as(
        settings: AwsKmsSettings,
        credentials: StaticCredentials,
    ) -> Result<Arc<Self>, KmsError> {
        Self::load(settings, Some(credentials)).await
    }

    async fn load(
        settings: AwsKmsSettings,
        credentials: Option<StaticCredentials>,
    ) -> Result<Arc<Self>, KmsError> {
        settings.check()?;
        let clock = Arc::new(SystemClock::new());
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.region(Self::region_of_endpoint(&settings).await);
            // On the KMS client alone: STS and others stay where they are.
            let config = Self::with_credentials(loader, credentials).load().await;
            let config = Builder::from(&config).endpoint_url(endpoint);
            return Ok(Self::from_config(config, settings, clock, Arc::new(SystemEntropy)));
        }
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let config = Self::with_credentials(loader, credentials).load().await;
        if config.region().is_none() {
            return Err(KmsError::new(
                KmsErrorKind::Invalid,
                "MissingRegion",
                "no AWS region is set; set AWS_REGION, or `region` in the profile",
            ));
        }
        let config = Builder::from(&config);
        Ok(Self::from_config(config, settings, clock, Arc::new(SystemEntropy)))
    }

    fn with_credentials(
        loader: aws_config::ConfigLoader,
        credentials: Option<StaticCredentials>,
    ) -> aws_config::ConfigLoader {
        match credentials {
            Some(StaticCredentials(credentials)) => loader.credentials_provider(credentials),
            None => loader,
        }
    }

    /// Without the instance metadata, which takes seconds to say no where there is none.
    async fn region_of_endpoint(settings: &AwsKmsSettings) -> Region {
        if let Some(region) = &settings.region {
            return Region::new(region.clone());
        }
        let mut profile = ProfileFileRegionProvider::builder();
        if let Some(name) = &settings.profile {
            profile = profile.profile_name(name);
        }
        RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(profile.build())
            .region()
            .await
            .unwrap_or(Region::from_static(REGION_OF_ENDPOINTS))
    }

    /// A client of the embedder's own configuration: other sources of credentials, another HTTP
    /// client. Its retries and timeouts are replaced by those of `settings`, whose endpoint, region
    /// and profile are ignored.
    #[must_use]
    pub fn from_config(
        config: Builder,
        settings: AwsKmsSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        let timeouts = TimeoutConfig::builder().connect_timeout(settings.connect_timeout).build();
        let config = config
            .behavior_version_latest()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .time_source(WallTime(Arc::clone(&clock)))
            .build();
        let client = Client::from_conf(config);
        let (metrics, flights) = (Metrics::default(), Flights::default());
        let inner = Inner { client, settings, metrics, flights, clock, entropy };
        Arc::new(Self { inner: Arc::new(inner) })
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> MetricsSnapshot {
        self.inner.metrics.snapshot()
    }
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKms").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

/// The wall clock that requests are signed with, as the SDK takes it.
struct WallTime(Arc<dyn Clock>);

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallTime")
    }
}

impl TimeSource for WallTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.now().0)
    }
}

/// What became of a call.
pub(crate) struct Called<T> {
    pub(crate) result: Result<T, KmsError>,
    /// An earlier attempt may have been carried out, although it failed.
    pub(crate) ambiguous: bool,
}

impl Inner {
    /// Sends until there is an answer, or the retry policy ends it. Counts and logs.
    pub(crate) async fn call<T, F>(
        &self,
        operation: Operation,
        traits: Traits,
        mut send: impl FnMut() -> F,
    ) -> Called<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let started = self.clock.monotonic();
        let mut retry = Retry::new(&self.settings, traits, started);
        let mut ambiguous = false;
        loop {
            let limit = retry.begin(self.clock.monotonic());
            self.metrics.attempt(operation, retry.attempts() == 1);
            let answer = match tokio::time::timeout(limit, send()).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::timed_out(limit)),
            };
            let now = self.clock.monotonic();
            let failure = match answer {
                Ok(value) => {
                    let took = retry.elapsed(now);
                    self.metrics.call(operation, took, None);
                    let (attempts, ms) = (retry.attempts(), took.as_millis());
                    tracing::debug!(operation = operation.as_str(), attempts, ms, "KMS answered");
                    return Called { result: Ok(value), ambiguous };
                }
                Err(failure) => failure,
            };
            if failure.class == Class::Throttled {
                self.metrics.throttled(operation);
            }
            let verdict = retry.failed(now, failure.class, failure.executed, self.random());
            let (code, attempts) = (failure.code, retry.attempts());
            let request_id = failure.request_id.as_deref().unwrap_or("none");
            let wait = match verdict {
                Verdict::RetryAfter(wait) => wait,
                Verdict::Stop(stop) => {
                    let took = retry.elapsed(now);
                    self.metrics.call(operation, took, Some(code));
                    let (operation, ms) = (operation.as_str(), took.as_millis());
                    tracing::warn!(operation, code, request_id, attempts, ms, ?stop, "KMS failed");
                    let result = Err(failure.into_error(stop, attempts, took));
                    return Called { result, ambiguous };
                }
            };
            ambiguous |= failure.executed == Executed::Maybe;
            let (operation, wait_ms) = (operation.as_str(), wait.as_millis());
            tracing::info!(operation, code, request_id, attempts, wait_ms, "KMS is asked again");
            #[expect(
                clippy::disallowed_methods,
                reason = "backing off is waiting for time to pass"
            )]
            tokio::time::sleep(wait).await;
        }
    }

    /// Only spreads the load, so that without randomness the longest wait is as right as any.
    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        match self.entropy.fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => u64::MAX,
        }
    }
}
