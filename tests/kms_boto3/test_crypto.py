"""Cases 1 to 15 and 32 to 34: encrypting, decrypting, generating, from key to key."""

from support import *

INVALID = "InvalidCiphertextException"


class Crypto(KmsTest):
    def case_01_encrypt_refuses_0_and_4097_bytes(self):
        key = self.key()
        for length, constraint in ((0, "have length greater than or equal to 1"),
                                   (4097, "have length less than or equal to 4096")):
            with self.refused("ValidationException", must("plaintext", None, constraint)):
                self.kms.encrypt(KeyId=key, Plaintext=b"x" * length)

    def case_02_4096_bytes_decrypt_without_a_key_id(self):
        key = self.key()
        answer = self.kms.encrypt(KeyId=key.rsplit("/")[-1], Plaintext=b"x" * 4096)
        self.assertEqual(answer["KeyId"], key)
        self.assertEqual(answer["EncryptionAlgorithm"], "SYMMETRIC_DEFAULT")
        self.assertNotIn("KeyMaterialId", answer)
        self.assertLessEqual(len(answer["CiphertextBlob"]), 6144)
        opened = self.kms.decrypt(CiphertextBlob=answer["CiphertextBlob"])
        self.assertEqual(opened["Plaintext"], b"x" * 4096)
        self.assertEqual(opened["KeyId"], key)
        self.assertEqual(opened["EncryptionAlgorithm"], "SYMMETRIC_DEFAULT")
        self.assertRegex(opened["KeyMaterialId"], "^[0-9a-f]{64}$")

    def case_03_the_order_of_the_context_does_not_matter(self):
        sealed = self.sealed(self.key(), pairs={"b": "2", "a": "1", "c": "3"})
        self.kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"c": "3", "a": "1", "b": "2"})

    def case_04_names_and_values_of_the_context_are_case_sensitive(self):
        sealed = self.sealed(self.key(), pairs={"Name": "Value"})
        for wrong in ({"name": "Value"}, {"Name": "value"}):
            with self.refused(INVALID, silent=True):
                self.kms.decrypt(CiphertextBlob=sealed, EncryptionContext=wrong)

    def case_05_the_context_must_be_whole_and_no_more(self):
        sealed = self.sealed(self.key(), pairs={"a": "bc"})
        for wrong in ({}, {"a": "bc", "d": "e"}, {"ab": "c"}):
            with self.refused(INVALID, silent=True) as caught:
                self.kms.decrypt(CiphertextBlob=sealed, EncryptionContext=wrong)
            self.assertEqual(self.message(caught), "")

    def case_06_a_changed_ciphertext_does_not_open(self):
        key = self.key()
        sealed = self.sealed(key)
        flipped = [bytearray(sealed) for _ in range(0, len(sealed), 5)]
        for number, blob in enumerate(flipped):
            blob[number * 5] ^= 1
        for blob in (*map(bytes, flipped), sealed + b"\0", sealed[:-1], sealed[1:], b"garbage"):
            with self.refused(INVALID, silent=True):
                self.kms.decrypt(CiphertextBlob=blob)
            with self.refused(INVALID, silent=True):
                self.kms.decrypt(CiphertextBlob=blob, KeyId=key)

    def case_07_another_keys_id_is_an_incorrect_key(self):
        sealed = self.sealed(self.key())
        with self.refused("IncorrectKeyException"):
            self.kms.decrypt(CiphertextBlob=sealed, KeyId=self.key())

    def case_08_a_key_of_another_kind_is_an_incorrect_key(self):
        sealed = self.sealed(self.key())
        hmac = self.key_of_kind("HMAC_256", "GENERATE_VERIFY_MAC")
        with self.refused("IncorrectKeyException"):
            self.kms.decrypt(CiphertextBlob=sealed, KeyId=hmac)

    def case_09_a_ciphertext_of_an_unknown_key_is_denied(self):
        slow = client(slow=True)
        unknown = self.sealed(self.key(slow), kms=slow)
        with self.refused("AccessDeniedException") as missing:
            self.kms.decrypt(CiphertextBlob=unknown)
        powerless = client("powerless")
        with self.refused("AccessDeniedException", by=powerless) as forbidden:
            powerless.decrypt(CiphertextBlob=self.sealed(self.key()))
        self.assertEqual(self.message(missing), self.message(forbidden))

    def case_10_data_keys_have_exactly_one_size(self):
        key = self.key()
        for sizes in ({}, {"KeySpec": "AES_256", "NumberOfBytes": 32}):
            with self.refused("ValidationException"):
                self.kms.generate_data_key(KeyId=key, **sizes)
            with self.refused("ValidationException"):
                self.kms.generate_data_key_without_plaintext(KeyId=key, **sizes)
        made = self.kms.generate_data_key(KeyId=key, KeySpec="AES_128")
        self.assertEqual(len(made["Plaintext"]), 16)

    def case_11_1_to_1024_bytes_are_generated(self):
        key = self.key()
        for number, constraint in ((0, "have value greater than or equal to 1"),
                                   (1025, "have value less than or equal to 1024")):
            told = must("numberOfBytes", number, constraint)
            with self.refused("ValidationException", told):
                self.kms.generate_random(NumberOfBytes=number)
            with self.refused("ValidationException", told):
                self.kms.generate_data_key(KeyId=key, NumberOfBytes=number)
        self.assertEqual(len(self.kms.generate_random(NumberOfBytes=1024)["Plaintext"]), 1024)

    def case_12_generate_random_requires_a_number(self):
        with self.refused("ValidationException", "NumberOfBytes is required."):
            self.kms.generate_random()

    def case_13_a_data_key_without_plaintext_decrypts_to_its_64_bytes(self):
        key, context = self.key(), {"aws:ebs:id": "vol-00fa4e00fa4e00fa4"}
        made = self.kms.generate_data_key_without_plaintext(
            KeyId=key, NumberOfBytes=64, EncryptionContext=context)
        self.assertNotIn("Plaintext", made)
        opened = self.kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
        self.assertEqual(len(opened["Plaintext"]), 64)
        self.assertEqual(opened["KeyMaterialId"], made["KeyMaterialId"])

    def case_14_the_same_input_encrypts_differently(self):
        key = self.key()
        self.assertNotEqual(self.sealed(key), self.sealed(key))

    def case_15_id_arn_alias_and_alias_arn_name_a_key(self):
        key, name = self.key(), alias_name("four")
        self.kms.create_alias(AliasName=name, TargetKeyId=key)
        for form in (key.rsplit("/")[-1], key, name, f"arn:aws:kms:{REGION}:{OWN}:{name}"):
            self.assertEqual(self.kms.encrypt(KeyId=form, Plaintext=b"x")["KeyId"], key)

    def case_32_re_encrypt_changes_the_context_alone(self):
        key = self.key()
        answer = self.kms.re_encrypt(
            CiphertextBlob=self.sealed(key, a="1"), SourceEncryptionContext={"a": "1"},
            DestinationKeyId=key, DestinationEncryptionContext={"a": "2"})
        self.assertEqual((answer["SourceKeyId"], answer["KeyId"]), (key, key))
        self.assertEqual(answer["SourceKeyMaterialId"], answer["DestinationKeyMaterialId"])
        blob = answer["CiphertextBlob"]
        opened = self.kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "2"})
        self.assertEqual(opened["Plaintext"], b"plaintext")
        with self.refused(INVALID, silent=True):
            self.kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1"})

    def case_33_a_signing_key_is_no_destination(self):
        signing = self.key_of_kind("ECC_NIST_P256", "SIGN_VERIFY")
        with self.refused("InvalidKeyUsageException"):
            self.kms.re_encrypt(
                CiphertextBlob=self.sealed(self.key()), DestinationKeyId=signing)

    def case_34_re_encrypt_needs_both_permissions(self):
        key, half = self.key(), client("from-only")
        request = {"CiphertextBlob": self.sealed(key), "DestinationKeyId": key}
        with self.refused("AccessDeniedException", by=half) as caught:
            half.re_encrypt(**request)
        self.assertIn("kms:ReEncryptTo", self.message(caught))
        client("admin").re_encrypt(**request)
