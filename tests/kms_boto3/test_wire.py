"""The protocol itself, by requests that no client would make, and what comes before KMS."""

import http.client
import json
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from support import *

JSON = "application/x-amz-json-1.1"


def post(body, target="TrentService.ListKeys", key=None, change=None):
    """A signed request, and what `change` makes of it afterwards: status, headers, body."""
    key, secret = key or root_credentials()
    headers = {"Content-Type": JSON}
    if target:
        headers["X-Amz-Target"] = target
    request = botocore.awsrequest.AWSRequest("POST", endpoint() + "/", headers, body)
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), "kms", REGION)
    signer.add_auth(request)
    headers = dict(request.headers.items())
    if change:
        body = change(headers, body) or body
    address = urllib.parse.urlsplit(endpoint())
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.request("POST", "/", body, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, answer


class WireTest(KmsTest):
    def refused_with(self, exception, answer):
        status, headers, body = answer
        fault = json.loads(body)
        self.assertEqual((status, fault["__type"]), (400, exception), answer)
        self.assertTrue(UUID.fullmatch(headers["x-amzn-requestid"]), headers)
        self.assertEqual(headers["content-type"], JSON)

    def test_unknown_operations_and_broken_bodies(self):
        for target in ("TrentService.NoSuchThing", "Other.ListKeys", "ListKeys", None):
            answer = post(b"{}", target)
            self.refused_with("UnknownOperationException", answer)
        for body in (b"{", b"[]", b'{"Limit": "many"}', b"\xff"):
            self.refused_with("SerializationException", post(body))
        # What is not known is ignored, and null is as good as absent.
        self.assertEqual(post(b'{"NoSuchMember": 1, "Limit": null}')[0], 200)

    def test_authentication_comes_before_everything(self):
        key, secret = root_credentials()
        stranger = post(b"{", key=("AKIASTRANGER", secret))
        self.refused_with("UnrecognizedClientException", stranger)
        self.refused_with("InvalidSignatureException", post(b"{", key=(key, secret + "x")))
        unsigned = post(b"{", change=lambda headers, _: headers.pop("Authorization") and None)
        self.refused_with("MissingAuthenticationTokenException", unsigned)
        altered = post(b"{}", change=lambda _, body: b'{"Limit":1}')
        self.refused_with("InvalidSignatureException", altered)

    def test_operations_without_an_answer_have_no_body(self):
        key = json.dumps({"KeyId": self.key()}).encode()
        for target in ("DisableKey", "EnableKey", "EnableKeyRotation", "DisableKeyRotation"):
            status, headers, body = post(key, f"TrentService.{target}")
            self.assertEqual((status, body, headers["content-length"]), (200, b"", "0"))

    def test_a_fault_without_a_message_has_no_such_member(self):
        self.sealed(self.key())
        request = json.dumps({"CiphertextBlob": "AAEC"}).encode()
        _, _, body = post(request, "TrentService.Decrypt")
        self.assertEqual(json.loads(body), {"__type": "InvalidCiphertextException"})

    def test_times_are_numbers_and_blobs_padded_base64(self):
        status, _, body = post(b"{}", "TrentService.CreateKey")
        metadata = json.loads(body)["KeyMetadata"]
        self.assertEqual(status, 200)
        self.assertIsInstance(metadata["CreationDate"], (int, float))
        self.assertNotIn("DeletionDate", metadata)
        self.assertNotIn("MultiRegionConfiguration", metadata)
        request = json.dumps({"NumberOfBytes": 1}).encode()
        _, _, body = post(request, "TrentService.GenerateRandom")
        self.assertRegex(json.loads(body)["Plaintext"], "^[A-Za-z0-9+/]{2}==$")
