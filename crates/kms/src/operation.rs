//! The operations of KMS and the permissions that they need.

/// Makes a fieldless enumeration of AWS names.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $(
                #[doc = concat!("`", stringify!($variant), "`")]
                $variant,
            )+
        }

        impl $name {
            /// Every one, in the order of the enumeration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// AWS's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// The one of that name, exact.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }
    };
}

names! {
    /// An operation, as it is called.
    Operation {
        CancelKeyDeletion,
        CreateAlias,
        CreateGrant,
        CreateKey,
        Decrypt,
        DeleteAlias,
        DescribeKey,
        DisableKey,
        DisableKeyRotation,
        EnableKey,
        EnableKeyRotation,
        Encrypt,
        GenerateDataKey,
        GenerateDataKeyWithoutPlaintext,
        GenerateRandom,
        GetKeyPolicy,
        GetKeyRotationStatus,
        ListAliases,
        ListGrants,
        ListKeyPolicies,
        ListKeyRotations,
        ListKeys,
        ListResourceTags,
        ListRetirableGrants,
        PutKeyPolicy,
        ReEncrypt,
        RetireGrant,
        RevokeGrant,
        RotateKeyOnDemand,
        ScheduleKeyDeletion,
        TagResource,
        UntagResource,
        UpdateAlias,
        UpdateKeyDescription,
    }
}

impl Operation {
    /// Operations of AWS KMS that this one knows and does not offer, because they are of no use to
    /// volumes: asymmetric and HMAC cryptography, imported material, custom key stores, replicas.
    pub const UNSUPPORTED: &[&str] = &[
        "ConnectCustomKeyStore",
        "CreateCustomKeyStore",
        "DeleteCustomKeyStore",
        "DeleteImportedKeyMaterial",
        "DeriveSharedSecret",
        "DescribeCustomKeyStores",
        "DisconnectCustomKeyStore",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateMac",
        "GetKeyLastUsage",
        "GetParametersForImport",
        "GetPublicKey",
        "ImportKeyMaterial",
        "ReplicateKey",
        "Sign",
        "UpdateCustomKeyStore",
        "UpdatePrimaryRegion",
        "Verify",
        "VerifyMac",
    ];

    /// Whether a record of it says `readOnly`: everything that changes no key, alias, policy or
    /// grant, cryptography among it.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        matches!(
            self,
            Self::Decrypt
                | Self::DescribeKey
                | Self::Encrypt
                | Self::GenerateDataKey
                | Self::GenerateDataKeyWithoutPlaintext
                | Self::GenerateRandom
                | Self::GetKeyPolicy
                | Self::GetKeyRotationStatus
                | Self::ListAliases
                | Self::ListGrants
                | Self::ListKeyPolicies
                | Self::ListKeyRotations
                | Self::ListKeys
                | Self::ListResourceTags
                | Self::ListRetirableGrants
                | Self::ReEncrypt
        )
    }

    /// Whether it changes the state of the KMS, and so waits for the disk.
    #[must_use]
    pub const fn is_change(self) -> bool {
        !self.is_read_only()
    }

    /// Whether it takes keys of another account, by ARN.
    #[must_use]
    pub const fn crosses_accounts(self) -> bool {
        matches!(
            self,
            Self::Decrypt
                | Self::Encrypt
                | Self::GenerateDataKey
                | Self::GenerateDataKeyWithoutPlaintext
                | Self::ReEncrypt
                | Self::CreateGrant
                | Self::DescribeKey
                | Self::GetKeyRotationStatus
                | Self::ListGrants
                | Self::RetireGrant
                | Self::RevokeGrant
        )
    }

    /// Whether it counts against the shared quota of symmetric cryptography.
    #[must_use]
    pub const fn is_cryptographic(self) -> bool {
        matches!(
            self,
            Self::Decrypt
                | Self::Encrypt
                | Self::GenerateDataKey
                | Self::GenerateDataKeyWithoutPlaintext
                | Self::GenerateRandom
                | Self::ReEncrypt
        )
    }
}

names! {
    /// A permission: what policies call `kms:<name>`.
    Action {
        CancelKeyDeletion,
        CreateAlias,
        CreateGrant,
        CreateKey,
        Decrypt,
        DeleteAlias,
        DescribeKey,
        DisableKey,
        DisableKeyRotation,
        EnableKey,
        EnableKeyRotation,
        Encrypt,
        GenerateDataKey,
        GenerateDataKeyWithoutPlaintext,
        GenerateRandom,
        GetKeyPolicy,
        GetKeyRotationStatus,
        ListAliases,
        ListGrants,
        ListKeyPolicies,
        ListKeyRotations,
        ListKeys,
        ListResourceTags,
        ListRetirableGrants,
        PutKeyPolicy,
        ReEncryptFrom,
        ReEncryptTo,
        RetireGrant,
        RevokeGrant,
        RotateKeyOnDemand,
        ScheduleKeyDeletion,
        TagResource,
        UntagResource,
        UpdateAlias,
        UpdateKeyDescription,
    }
}

impl Action {
    /// The name in policies, with its prefix.
    #[must_use]
    pub const fn qualified(self) -> &'static str {
        match self {
            Self::CancelKeyDeletion => "kms:CancelKeyDeletion",
            Self::CreateAlias => "kms:CreateAlias",
            Self::CreateGrant => "kms:CreateGrant",
            Self::CreateKey => "kms:CreateKey",
            Self::Decrypt => "kms:Decrypt",
            Self::DeleteAlias => "kms:DeleteAlias",
            Self::DescribeKey => "kms:DescribeKey",
            Self::DisableKey => "kms:DisableKey",
            Self::DisableKeyRotation => "kms:DisableKeyRotation",
            Self::EnableKey => "kms:EnableKey",
            Self::EnableKeyRotation => "kms:EnableKeyRotation",
            Self::Encrypt => "kms:Encrypt",
            Self::GenerateDataKey => "kms:GenerateDataKey",
            Self::GenerateDataKeyWithoutPlaintext => "kms:GenerateDataKeyWithoutPlaintext",
            Self::GenerateRandom => "kms:GenerateRandom",
            Self::GetKeyPolicy => "kms:GetKeyPolicy",
            Self::GetKeyRotationStatus => "kms:GetKeyRotationStatus",
            Self::ListAliases => "kms:ListAliases",
            Self::ListGrants => "kms:ListGrants",
            Self::ListKeyPolicies => "kms:ListKeyPolicies",
            Self::ListKeyRotations => "kms:ListKeyRotations",
            Self::ListKeys => "kms:ListKeys",
            Self::ListResourceTags => "kms:ListResourceTags",
            Self::ListRetirableGrants => "kms:ListRetirableGrants",
            Self::PutKeyPolicy => "kms:PutKeyPolicy",
            Self::ReEncryptFrom => "kms:ReEncryptFrom",
            Self::ReEncryptTo => "kms:ReEncryptTo",
            Self::RetireGrant => "kms:RetireGrant",
            Self::RevokeGrant => "kms:RevokeGrant",
            Self::RotateKeyOnDemand => "kms:RotateKeyOnDemand",
            Self::ScheduleKeyDeletion => "kms:ScheduleKeyDeletion",
            Self::TagResource => "kms:TagResource",
            Self::UntagResource => "kms:UntagResource",
            Self::UpdateAlias => "kms:UpdateAlias",
            Self::UpdateKeyDescription => "kms:UpdateKeyDescription",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_the_order_of_the_enumeration() {
        for (index, operation) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, index);
            assert_eq!(Operation::from_name(operation.as_str()), Some(*operation));
            assert!(!Operation::UNSUPPORTED.contains(&operation.as_str()));
        }
        for action in Action::ALL {
            assert_eq!(action.qualified().strip_prefix("kms:"), Some(action.as_str()));
        }
    }
}
