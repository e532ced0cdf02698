//! What kinds of keys there are, and what each may be used for.

/// Makes an enumeration with AWS's names.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub enum $name {
            $(
                #[doc = concat!("`", $text, "`")]
                #[serde(rename = $text)]
                $variant,
            )+
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// AWS's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The value of that name, exact.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }
    };
}

names! {
    /// The kind of a key's material. Only `SYMMETRIC_DEFAULT` (AES-256-GCM) does cryptography here;
    /// the others exist so that a wrong kind of key is refused as AWS refuses it.
    KeySpec {
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        EccNistP256 = "ECC_NIST_P256",
        EccNistP384 = "ECC_NIST_P384",
        EccNistP521 = "ECC_NIST_P521",
        EccSecgP256k1 = "ECC_SECG_P256K1",
        EccNistEdwards25519 = "ECC_NIST_EDWARDS25519",
        Hmac224 = "HMAC_224",
        Hmac256 = "HMAC_256",
        Hmac384 = "HMAC_384",
        Hmac512 = "HMAC_512",
        Sm2 = "SM2",
        MlDsa44 = "ML_DSA_44",
        MlDsa65 = "ML_DSA_65",
        MlDsa87 = "ML_DSA_87",
    }
}

names! {
    /// What a key is for.
    KeyUsage {
        EncryptDecrypt = "ENCRYPT_DECRYPT",
        SignVerify = "SIGN_VERIFY",
        GenerateVerifyMac = "GENERATE_VERIFY_MAC",
        KeyAgreement = "KEY_AGREEMENT",
    }
}

names! {
    /// Where a key's material comes from.
    Origin {
        AwsKms = "AWS_KMS",
        External = "EXTERNAL",
        AwsCloudHsm = "AWS_CLOUDHSM",
        ExternalKeyStore = "EXTERNAL_KEY_STORE",
    }
}

impl KeySpec {
    /// Whether it is the symmetric encryption key.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::SymmetricDefault)
    }

    /// Whether it is one of the HMAC keys.
    #[must_use]
    pub const fn is_hmac(self) -> bool {
        matches!(self, Self::Hmac224 | Self::Hmac256 | Self::Hmac384 | Self::Hmac512)
    }

    const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    /// The usage of a key whose maker named none; `None` where one must be named.
    #[must_use]
    pub const fn default_usage(self) -> Option<KeyUsage> {
        match self {
            Self::SymmetricDefault => Some(KeyUsage::EncryptDecrypt),
            _ => None,
        }
    }

    /// Whether a key of this kind may have that usage.
    #[must_use]
    pub const fn allows(self, usage: KeyUsage) -> bool {
        match usage {
            KeyUsage::EncryptDecrypt => {
                self.is_symmetric() || self.is_rsa() || matches!(self, Self::Sm2)
            }
            KeyUsage::SignVerify => !self.is_symmetric() && !self.is_hmac(),
            KeyUsage::GenerateVerifyMac => self.is_hmac(),
            KeyUsage::KeyAgreement => matches!(
                self,
                Self::EccNistP256 | Self::EccNistP384 | Self::EccNistP521 | Self::Sm2
            ),
        }
    }

    /// `EncryptionAlgorithms` of a key with this usage.
    pub(crate) const fn encryption_algorithms(self) -> &'static [&'static str] {
        match self {
            Self::SymmetricDefault => &["SYMMETRIC_DEFAULT"],
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => {
                &["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
            }
            Self::Sm2 => &["SM2PKE"],
            _ => &[],
        }
    }

    /// `SigningAlgorithms` of a key with this usage.
    pub(crate) const fn signing_algorithms(self) -> &'static [&'static str] {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[
                "RSASSA_PKCS1_V1_5_SHA_256",
                "RSASSA_PKCS1_V1_5_SHA_384",
                "RSASSA_PKCS1_V1_5_SHA_512",
                "RSASSA_PSS_SHA_256",
                "RSASSA_PSS_SHA_384",
                "RSASSA_PSS_SHA_512",
            ],
            Self::EccNistP256 | Self::EccSecgP256k1 => &["ECDSA_SHA_256"],
            Self::EccNistP384 => &["ECDSA_SHA_384"],
            Self::EccNistP521 => &["ECDSA_SHA_512"],
            Self::EccNistEdwards25519 => &["ED25519_PH_SHA_512", "ED25519_SHA_512"],
            Self::Sm2 => &["SM2DSA"],
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => &["ML_DSA_SHAKE_256"],
            _ => &[],
        }
    }

    /// `MacAlgorithms`.
    pub(crate) const fn mac_algorithms(self) -> &'static [&'static str] {
        match self {
            Self::Hmac224 => &["HMAC_SHA_224"],
            Self::Hmac256 => &["HMAC_SHA_256"],
            Self::Hmac384 => &["HMAC_SHA_384"],
            Self::Hmac512 => &["HMAC_SHA_512"],
            _ => &[],
        }
    }
}
