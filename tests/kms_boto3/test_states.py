"""Cases 16 to 31: key states and rotation."""

import datetime

from support import *

STATE = "KMSInvalidStateException"


class States(KmsTest):
    def cryptography(self, key, sealed):
        """Every cryptographic operation on a key, as calls."""
        other = self.key()
        return (
            lambda: self.kms.encrypt(KeyId=key, Plaintext=b"x"),
            lambda: self.kms.decrypt(CiphertextBlob=sealed),
            lambda: self.kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
            lambda: self.kms.generate_data_key_without_plaintext(KeyId=key, KeySpec="AES_256"),
            lambda: self.kms.re_encrypt(CiphertextBlob=sealed, DestinationKeyId=other),
            lambda: self.kms.re_encrypt(
                CiphertextBlob=self.sealed(other), DestinationKeyId=key),
        )

    def case_16_management_takes_no_alias(self):
        """The exception is inferred: as for any other malformed key id."""
        key, name = self.key(), alias_name("managed")
        self.kms.create_alias(AliasName=name, TargetKeyId=key)
        with self.refused("NotFoundException", f"Invalid keyId '{name}'"):
            self.kms.disable_key(KeyId=name)
        self.assertEqual(self.state(key), "Enabled")

    def case_17_describe_key_says_in_three_ways_that_there_is_none(self):
        for name, told in (
            (UNKNOWN, f"Key 'arn:aws:kms:{REGION}:{OWN}:key/{UNKNOWN}' does not exist"),
            ("not-a-uuid", "Invalid keyId 'not-a-uuid'"),
            (f"arn:aws:kms:eu-north-9:{OWN}:key/{UNKNOWN}", "Invalid arn eu-north-9"),
        ):
            with self.refused("NotFoundException", told):
                self.kms.describe_key(KeyId=name)

    def case_18_cryptography_refuses_a_disabled_key(self):
        key = self.key()
        sealed = self.sealed(key)
        self.kms.disable_key(KeyId=key)
        for call in self.cryptography(key, sealed):
            with self.refused("DisabledException", f"{key} is disabled."):
                call()

    def case_19_cryptography_refuses_a_key_pending_deletion(self):
        for disabled in (False, True):
            key = self.key()
            sealed = self.sealed(key)
            if disabled:
                self.kms.disable_key(KeyId=key)
            self.kms.schedule_key_deletion(KeyId=key)
            for call in self.cryptography(key, sealed):
                with self.refused(STATE, f"{key} is pending deletion."):
                    call()

    def case_20_deletion_is_scheduled_once(self):
        key = self.key()
        answer = self.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        self.assertEqual((answer["KeyId"], answer["KeyState"]), (key, "PendingDeletion"))
        left = answer["DeletionDate"] - datetime.datetime.now(datetime.timezone.utc)
        self.assertLess(abs(left - datetime.timedelta(days=7)), datetime.timedelta(minutes=5))
        with self.refused(STATE, f"{key} is pending deletion."):
            self.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)

    def case_21_the_deletion_window_is_7_to_30_days(self):
        key = self.key()
        for days, constraint in ((6, "have value greater than or equal to 7"),
                                 (31, "have value less than or equal to 30")):
            with self.refused("ValidationException",
                              must("pendingWindowInDays", days, constraint)):
                self.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=days)

    def case_22_nothing_to_cancel(self):
        key = self.key()
        with self.refused(STATE, f"{key} is not pending deletion"):
            self.kms.cancel_key_deletion(KeyId=key)

    def case_23_cancelling_a_deletion_leaves_the_key_disabled(self):
        key = self.key()
        self.kms.schedule_key_deletion(KeyId=key)
        self.assertIn("DeletionDate", self.kms.describe_key(KeyId=key)["KeyMetadata"])
        self.assertEqual(self.kms.cancel_key_deletion(KeyId=key.rsplit("/")[-1])["KeyId"], key)
        told = self.kms.describe_key(KeyId=key)["KeyMetadata"]
        self.assertEqual((told["KeyState"], told["Enabled"]), ("Disabled", False))
        self.assertNotIn("DeletionDate", told)

    def case_24_a_key_pending_deletion_is_neither_enabled_nor_disabled(self):
        key = self.key()
        self.kms.schedule_key_deletion(KeyId=key)
        for call in (self.kms.enable_key, self.kms.disable_key):
            with self.refused(STATE, f"{key} is pending deletion."):
                call(KeyId=key)

    def case_25_enabling_and_disabling_again_succeeds(self):
        key = self.key()
        self.kms.enable_key(KeyId=key)
        for _ in range(2):
            self.kms.disable_key(KeyId=key)
        self.assertEqual(self.state(key), "Disabled")


class Rotation(KmsTest):
    def material(self, key):
        return self.kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]

    def rotate(self, key):
        before = self.material(key)
        self.assertEqual(self.kms.rotate_key_on_demand(KeyId=key)["KeyId"], key)
        Patience(10).until(lambda: self.material(key) != before)

    def case_26_what_was_encrypted_before_a_rotation_still_decrypts(self):
        key = self.key()
        first, sealed = self.material(key), self.sealed(key)
        self.rotate(key)
        self.assertEqual(self.kms.decrypt(CiphertextBlob=sealed)["KeyMaterialId"], first)
        new = self.kms.decrypt(CiphertextBlob=self.sealed(key))["KeyMaterialId"]
        self.assertEqual(new, self.material(key))

    def case_27_a_rotation_changes_the_current_material_when_it_is_over(self):
        key = self.key()
        before = self.material(key)
        self.rotate(key)
        self.assertNotEqual(self.material(key), before)
        self.assertNotIn("OnDemandRotationStartDate", self.kms.get_key_rotation_status(KeyId=key))
        listed = self.kms.list_key_rotations(KeyId=key)["Rotations"]
        self.assertEqual([entry["RotationType"] for entry in listed], ["ON_DEMAND"])
        self.assertEqual(listed[0]["KeyMaterialId"], self.material(key))
        listed = self.kms.list_key_rotations(
            KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
        states = [entry["KeyMaterialState"] for entry in listed]
        self.assertEqual(states, ["NON_CURRENT", "CURRENT"])
        self.assertNotIn("RotationDate", listed[0])

    def case_28_rotations_on_demand_are_capped(self):
        """By config.toml at 2."""
        key = self.key()
        self.rotate(key)
        self.rotate(key)
        with self.refused("LimitExceededException"):
            self.kms.rotate_key_on_demand(KeyId=key)

    def case_29_a_disabled_asymmetric_key_is_disabled(self):
        key = self.key_of_kind("RSA_2048", "ENCRYPT_DECRYPT")
        self.kms.disable_key(KeyId=key)
        with self.refused("DisabledException", f"{key} is disabled."):
            self.kms.rotate_key_on_demand(KeyId=key)

    def case_30_asymmetric_keys_do_not_rotate(self):
        key = self.key_of_kind("RSA_2048", "ENCRYPT_DECRYPT")
        with self.refused("UnsupportedOperationException", silent=True):
            self.kms.rotate_key_on_demand(KeyId=key)

    def case_31_the_rotation_period_is_90_to_2560_days(self):
        key = self.key()
        for days, constraint in ((89, "have value greater than or equal to 90"),
                                 (2561, "have value less than or equal to 2560")):
            with self.refused("ValidationException",
                              must("rotationPeriodInDays", days, constraint)):
                self.kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=days)
        self.kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
        status = self.kms.get_key_rotation_status(KeyId=key)
        self.assertEqual((status["KeyRotationEnabled"], status["RotationPeriodInDays"]), (True, 90))
        left = status["NextRotationDate"] - datetime.datetime.now(datetime.timezone.utc)
        self.assertLess(abs(left - datetime.timedelta(days=90)), datetime.timedelta(minutes=5))
