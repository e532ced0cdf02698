//! Random bytes.

use sealvol_envelope::KmsError;
use zeroize::Zeroizing;

use crate::audit::parameters;
use crate::fault;
use crate::kms::no_randomness;
use crate::model::{GenerateRandomRequest, GenerateRandomResponse, SecretBlob};
use crate::operation::{Action, Operation};
use crate::session::{Ask, Session};
use crate::validate::{Checks, no_recipient};

impl Session {
    /// `GenerateRandom`: 1 to 1024 bytes from the operating system's generator.
    ///
    /// # Errors
    /// `ValidationException`, `AccessDeniedException`, `UnsupportedOperationException`.
    pub fn generate_random(
        &self,
        request: &GenerateRandomRequest,
    ) -> Result<GenerateRandomResponse, KmsError> {
        let parameters = || parameters::generate_random(request);
        self.call(Operation::GenerateRandom, parameters, |_trail| {
            let mut checks = Checks::default();
            checks.range("numberOfBytes", request.number_of_bytes, 1, 1024);
            checks.finish()?;
            let Some(len) = request.number_of_bytes.and_then(|len| usize::try_from(len).ok())
            else {
                return Err(fault::validation("NumberOfBytes is required."));
            };
            no_recipient(request.recipient.as_ref())?;
            if request.custom_key_store_id.is_some() {
                return Err(fault::unsupported("custom key stores are not supported"));
            }
            self.read(|state| {
                self.permit_in_account(state, &Ask::to(Action::GenerateRandom), "*")
            })?;
            let mut plaintext = Zeroizing::new(vec![0; len]);
            self.kms.entropy.fill(&mut plaintext).map_err(no_randomness)?;
            Ok(GenerateRandomResponse { plaintext: SecretBlob::new(plaintext) })
        })
    }
}
