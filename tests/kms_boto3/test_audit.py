"""The records of calls over HTTP, as the daemon writes them to DIR/audit."""

import base64
import json

from support import *


class Audit(KmsTest):
    def records(self):
        """Every whole line. The files' names sort by time."""
        for path in sorted((DATA / "audit").glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)

    def record_of(self, request_id):
        found = []

        def written():
            found[:] = [r for r in self.records() if r["requestID"] == request_id]
            return bool(found)

        # On disk within a second, and then some for a busy machine.
        Patience(10).until(written)
        [record] = found
        return record

    def last_id(self, kms=None):
        return (kms or self.kms).wire.last["headers"]["x-amzn-requestid"]

    def test_a_call_is_recorded_under_the_id_of_its_answer(self):
        key, admin = self.key(), client("admin")
        sealed = self.sealed(key, kms=admin, pairs={"aws:ebs:id": "vol-1"})
        record = self.record_of(self.last_id(admin))
        self.assertEqual(record["eventName"], "Encrypt")
        self.assertEqual(record["sourceIPAddress"], "127.0.0.1")
        self.assertIn("Boto3/", record["userAgent"])
        identity = record["userIdentity"]
        self.assertEqual((identity["type"], identity["arn"]), ("IAMUser", user("admin")))
        self.assertEqual(identity["accessKeyId"], "AKIATESTADMIN")
        self.assertEqual(record["requestParameters"]["encryptionContext"], {"aws:ebs:id": "vol-1"})
        self.assertIsNone(record["responseElements"])
        self.assertEqual(record["resources"][0]["ARN"], key)
        with self.refused("InvalidCiphertextException"):
            self.kms.decrypt(CiphertextBlob=sealed)
        record = self.record_of(self.last_id())
        self.assertEqual(record["errorCode"], "InvalidCiphertextException")
        self.assertNotIn("errorMessage", record)

    def test_services_and_dry_runs_are_told_apart(self):
        key, fargate = self.key(), client("fargate")
        with self.refused("AccessDeniedException", by=fargate):
            fargate.encrypt(KeyId=key, Plaintext=b"x", DryRun=True)
        record = self.record_of(self.last_id(fargate))
        self.assertEqual(record["userIdentity"]["type"], "AWSService")
        self.assertEqual(record["userIdentity"]["invokedBy"], "fargate.amazonaws.com")
        self.assertEqual(record["errorCode"], "AccessDenied")
        self.assertIs(record["requestParameters"]["dryRun"], True)

    def test_no_record_holds_a_plaintext_a_ciphertext_or_a_token(self):
        key, plaintext = self.key(), b"a plaintext that nobody may read in a log"
        sealed = self.sealed(key, plaintext)
        made = self.kms.generate_data_key(KeyId=key, KeySpec="AES_256")
        grant = self.kms.create_grant(
            KeyId=key, GranteePrincipal=user("grantee"), Operations=["Decrypt", "RetireGrant"])
        grantee = client("grantee")
        grantee.decrypt(CiphertextBlob=sealed, GrantTokens=[grant["GrantToken"]])
        grantee.retire_grant(GrantToken=grant["GrantToken"])
        with self.refused("AccessDeniedException", by=grantee):
            grantee.decrypt(CiphertextBlob=sealed, KeyId=key)
        record = self.record_of(self.last_id(grantee))
        self.assertEqual(record["errorCode"], "AccessDenied")
        log = "".join(p.read_text(encoding="utf-8") for p in (DATA / "audit").glob("*.jsonl"))
        secrets = (plaintext, sealed, made["Plaintext"], made["CiphertextBlob"])
        for text in (grant["GrantToken"], *(base64.b64encode(s).decode() for s in secrets),
                     *(s.hex() for s in secrets), plaintext.decode()):
            self.assertNotIn(text, log)
