//! The conformance suite of [`KeyService`]: one named function for each promise, run
//! over any implementation through a [`Fixture`]. It owns no backend and knows none.
//!
//! A case either holds, or the fixture says why its backend cannot show it ([`NotSupported`]), or
//! it panics. Nothing is skipped silently: [`run_all`] returns all three in a [`Report`], the third
//! by panicking with the case's name. Numbers in case names (`c05_...`) are those of the project's
//! list of KMS cases; names without a number are promises of the trait alone.

#![expect(
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "every case panics when its promise does not hold, and else errs with NotSupported"
)]

pub mod ciphertexts;
pub mod grants;
pub mod keys;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    CreateGrantRequest, CreatedGrant, DataKey, DecryptRequest, EncryptionContext,
    GenerateDataKeyRequest, GrantConstraint, GrantOperation, GrantTokens, KeyService, KmsError,
    KmsErrorKind, RetireGrantRequest, WrappedDataKey,
};

/// Why a backend cannot show a promise. Reported, never swallowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSupported(pub String);

impl NotSupported {
    /// Shorthand for a reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What a case comes to when it does not panic.
pub type Outcome<T = ()> = Result<T, NotSupported>;

/// An enabled key that the suite may use, disable and enable.
#[derive(Debug, Clone)]
pub struct TestKey {
    /// Key id.
    pub id: String,
    /// Key ARN.
    pub arn: String,
    /// Alias name and alias ARN, where the backend has aliases.
    pub alias: Option<(String, String)>,
}

/// A principal that may do nothing but what a grant allows.
#[derive(Clone)]
pub struct TestPrincipal {
    /// Its name, as grants have it.
    pub principal: String,
    /// The service as it sees it.
    pub service: Arc<dyn KeyService>,
}

impl fmt::Debug for TestPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestPrincipal").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// What the suite needs from a backend.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A handle that may do everything on both keys.
    fn privileged(&self) -> Arc<dyn KeyService>;

    /// Two different enabled keys.
    fn keys(&self) -> [TestKey; 2];

    /// One of two principals (0 and 1) without any permission of their own.
    ///
    /// # Errors
    /// [`NotSupported`] where the backend knows one principal only.
    fn other(&self, _index: usize) -> Outcome<TestPrincipal> {
        Err(NotSupported::because("the backend has no second principal"))
    }

    /// Disables or enables a key.
    ///
    /// # Errors
    /// [`NotSupported`] where the fixture may not.
    async fn set_enabled(&self, _key: &TestKey, _enabled: bool) -> Outcome {
        Err(NotSupported::because("the fixture cannot disable a key"))
    }

    /// Revokes a grant.
    ///
    /// # Errors
    /// [`NotSupported`] where the fixture may not.
    async fn revoke_grant(&self, _key: &TestKey, _grant_id: &str) -> Outcome {
        Err(NotSupported::because("the fixture cannot revoke a grant"))
    }

    /// An intact ciphertext, with the empty context, of a key that this service does not have.
    ///
    /// # Errors
    /// [`NotSupported`] where none can be made.
    fn foreign_ciphertext(&self) -> Outcome<Vec<u8>> {
        Err(NotSupported::because("no ciphertext of an unknown key is at hand"))
    }

    /// The reason why this backend is let off a case, if it is: for backends of others that are
    /// known to deviate.
    fn waived(&self, _case: &str) -> Option<String> {
        None
    }
}

/// What the suite found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Cases that hold.
    pub passed: Vec<&'static str>,
    /// Cases that the backend cannot show, with the reason.
    pub not_supported: Vec<(&'static str, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} passed, {} not supported", self.passed.len(), self.not_supported.len())?;
        for (case, reason) in &self.not_supported {
            writeln!(f, "  {case}: {reason}")?;
        }
        Ok(())
    }
}

type CaseFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A promise and the function that tries it.
#[derive(Clone, Copy)]
pub struct Case {
    /// The function's name.
    pub name: &'static str,
    /// Tries the promise.
    pub run: for<'a> fn(&'a dyn Fixture) -> CaseFuture<'a>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! cases {
    ($($module:ident :: { $($name:ident),+ $(,)? }),+ $(,)?) => {
        /// Every case, in the order in which [`run_all`] runs them.
        pub const CASES: &[Case] = &[
            $($(Case { name: stringify!($name), run: |f| Box::pin($module::$name(f)) }),+),+
        ];
    };
}

cases! {
    ciphertexts::{
        c03_context_order_does_not_matter,
        c04_context_case_matters,
        c05_context_must_be_exact,
        c06_damage_is_invalid_ciphertext,
        c07_another_key_is_incorrect_key,
        c09_unknown_owner_is_denied,
        c11_size_range_is_checked,
        c13_sixty_four_byte_keys,
        c14_every_call_gives_another_ciphertext,
        plaintext_and_wrapped_form_agree,
        empty_context_round_trips,
        c32_re_encrypt_changes_the_context,
        re_encrypt_changes_the_key,
        re_encrypt_checks_its_source,
    },
    keys::{
        c15_every_form_of_key_id,
        c17_unknown_keys_are_not_found,
        describe_tells_id_arn_and_state,
        c18_disabled_key_refuses_cryptography,
        c44_disabled_key_refuses_create_grant,
        c59_disabled_key_leaves_open_data_keys_alone,
    },
    grants::{
        without_a_grant_everything_is_denied,
        a_grant_allows_only_its_operations,
        a_grant_is_for_its_grantee_and_key,
        c34_re_encrypt_needs_both_halves,
        c35_named_grant_is_idempotent,
        c36_unnamed_grants_are_duplicates,
        c37_names_are_scoped_to_the_key,
        named_grant_with_other_parameters_is_another,
        c38_operations_are_checked,
        c39_constraint_limits,
        c40_equals_and_subset,
        c41_describe_ignores_the_constraint,
        c43_child_grants_only_narrow,
        c45_retire_and_revoke_on_a_disabled_key,
        c46_grantee_retires_only_with_retire_grant,
        retiring_principal_retires_by_token_and_by_id,
        c47_ended_grants_no_longer_allow,
        tokens_are_checked,
    },
}

/// Runs every case.
///
/// # Panics
/// When a promise does not hold; the message names the case.
pub async fn run_all(fixture: &dyn Fixture) -> Report {
    let mut report = Report::default();
    for case in CASES {
        if let Some(reason) = fixture.waived(case.name) {
            report.not_supported.push((case.name, reason));
            continue;
        }
        // The libtest harness shows what a failed test printed; a panic message names only a line.
        let running = Named(case.name);
        match (case.run)(fixture).await {
            Ok(()) => report.passed.push(case.name),
            Err(NotSupported(reason)) => report.not_supported.push((case.name, reason)),
        }
        drop(running);
    }
    report
}

/// Names the case that was running when the suite panicked.
struct Named(&'static str);

impl Drop for Named {
    #[expect(clippy::print_stderr, reason = "runs only while a failed test unwinds")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("conformance case {} failed", self.0);
        }
    }
}

// What the cases share.

/// A context from pairs.
fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    EncryptionContext::from_pairs(pairs.iter().copied()).expect("the suite's contexts are valid")
}

/// The context that most cases use: what a task's volume has.
fn volume_context() -> EncryptionContext {
    context(&[
        ("aws:ebs:id", "vol-0123456789abcdef0"),
        ("aws:ecs:clusterAccount", "000000000000"),
        ("aws:ecs:clusterName", "conformance"),
    ])
}

fn generate(key_id: &str, context: EncryptionContext) -> GenerateDataKeyRequest {
    GenerateDataKeyRequest {
        key_id: key_id.to_owned(),
        context,
        number_of_bytes: 64,
        grant_tokens: GrantTokens::default(),
    }
}

fn unwrap(ciphertext: &[u8], context: EncryptionContext) -> DecryptRequest {
    DecryptRequest {
        ciphertext: ciphertext.to_vec(),
        context,
        key_id: None,
        grant_tokens: GrantTokens::default(),
    }
}

fn with_token(mut request: DecryptRequest, grant: &CreatedGrant) -> DecryptRequest {
    request.grant_tokens = GrantTokens(vec![grant.grant_token.clone()]);
    request
}

fn grant(key: &TestKey, to: &TestPrincipal, operations: &[GrantOperation]) -> CreateGrantRequest {
    CreateGrantRequest {
        key_id: key.arn.clone(),
        grantee_principal: to.principal.clone(),
        retiring_principal: None,
        operations: operations.to_vec(),
        constraint: None,
        name: None,
        grant_tokens: GrantTokens::default(),
    }
}

fn constrained(mut request: CreateGrantRequest, constraint: GrantConstraint) -> CreateGrantRequest {
    request.constraint = Some(constraint);
    request
}

/// A data key of the first key, with the context of [`volume_context`].
async fn wrapped(fixture: &dyn Fixture) -> WrappedDataKey {
    let [key, _] = fixture.keys();
    fixture
        .privileged()
        .generate_data_key_without_plaintext(generate(&key.id, volume_context()))
        .await
        .expect("the privileged caller generates a data key")
}

async fn create(fixture: &dyn Fixture, request: CreateGrantRequest) -> CreatedGrant {
    fixture.privileged().create_grant(request).await.expect("the privileged caller grants")
}

/// Ends a grant as the privileged caller, so that cases leave nothing behind for each other.
async fn clean_up(fixture: &dyn Fixture, created: &CreatedGrant) {
    fixture
        .privileged()
        .retire_grant(RetireGrantRequest::Token(GrantTokens(vec![created.grant_token.clone()])))
        .await
        .expect("the creating account retires its grant");
}

/// Asserts a refusal by kind and exact AWS exception name.
#[track_caller]
fn refused<T>(result: Result<T, KmsError>, kind: KmsErrorKind, code: &str) -> KmsError {
    match result {
        Ok(_) => panic!("expected {code}, but the call succeeded"),
        Err(error) => {
            assert_eq!((error.kind(), error.code()), (kind, code), "{error}");
            error
        }
    }
}

#[track_caller]
fn denied<T>(result: Result<T, KmsError>) {
    refused(result, KmsErrorKind::Denied, "AccessDeniedException");
}

#[track_caller]
fn same_key(a: &DataKey, b: &DataKey) {
    // Not assert_eq: a failure must not print key bytes.
    assert!(a.expose_secret() == b.expose_secret(), "the data keys differ");
}
