"""What the tests share: clients for everybody of config.toml, and rules that every answer keeps.

The environment:
- SEALVOL_TEST_ENDPOINT, SEALVOL_TEST_DATA: a daemon without delays, and its directory;
- SEALVOL_TEST_SLOW_ENDPOINT, SEALVOL_TEST_SLOW_DATA: one whose grants take time to propagate, by
  SEALVOL_TEST_PROPAGATION_SECONDS;
- SEALVOL_TEST_BIN: the program.
"""

import configparser
import contextlib
import functools
import json
import os
import pathlib
import re
import time
import unittest

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "us-east-1"
OWN = "000000000000"
OTHER = "111122223333"
FARGATE = "fargate.us-east-1.amazonaws.com"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
PROPAGATION = float(os.environ["SEALVOL_TEST_PROPAGATION_SECONDS"])
BINARY = os.environ["SEALVOL_TEST_BIN"]
DATA = pathlib.Path(os.environ["SEALVOL_TEST_DATA"])

# Statuses and members of a fault that are the server's own, not the client's.
SERVER_FAULTS = {"KMSInternalException", "KeyUnavailableException", "DependencyTimeoutException"}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def endpoint(slow=False):
    return os.environ["SEALVOL_TEST_SLOW_ENDPOINT" if slow else "SEALVOL_TEST_ENDPOINT"]


def root_credentials(slow=False):
    """The root's key, as the daemon wrote it when it first started."""
    data = os.environ["SEALVOL_TEST_SLOW_DATA" if slow else "SEALVOL_TEST_DATA"]
    parser = configparser.ConfigParser()
    parser.read(pathlib.Path(data) / "credentials")
    section = parser["default"]
    return section["aws_access_key_id"], section["aws_secret_access_key"]


def credentials(who, slow=False):
    """The keys of config.toml: `AKIATEST` and the name, with a secret that says so."""
    if who == "root":
        return root_credentials(slow)
    name = who.upper().replace("-", "_")
    return f"AKIATEST{name}", f"secret-of-{who}"


class Wire:
    """The raw answers of a client, each held against what every answer must be."""

    def __init__(self):
        self.last = None

    def seen(self, operation_model, response_dict, **_kwargs):
        status, body = response_dict["status_code"], response_dict["body"]
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        self.last = {"status": status, "body": body, "headers": headers}
        name = operation_model.name
        assert UUID.fullmatch(headers.get("x-amzn-requestid", "")), f"{name}: {headers}"
        assert headers.get("content-type") == "application/x-amz-json-1.1", f"{name}: {headers}"
        assert int(headers["content-length"]) == len(body), f"{name}: {headers}"
        if status == 200:
            shape = operation_model.output_shape
            if shape is None or not shape.members:
                assert body == b"", f"{name} has no answer, and said {body!r}"
            else:
                assert isinstance(json.loads(body), dict)
            return
        fault = json.loads(body)
        assert set(fault) <= {"__type", "message"}, fault
        assert isinstance(fault["__type"], str) and "#" not in fault["__type"], fault
        expected = 500 if fault["__type"] in SERVER_FAULTS else 400
        assert status == expected, f"{name}: {status} {fault}"


@functools.lru_cache(maxsize=None)
def client(who="root", slow=False, validates=False):
    """A KMS client whose requests go out as they are written, without its own checks and retries."""
    key, secret = credentials(who, slow)
    config = Config(
        parameter_validation=validates,
        retries={"total_max_attempts": 1},
        connect_timeout=10,
        read_timeout=30,
    )
    made = boto3.session.Session().client(
        "kms", region_name=REGION, endpoint_url=endpoint(slow), aws_access_key_id=key,
        aws_secret_access_key=secret, config=config)
    made.wire = Wire()
    made.meta.events.register("before-parse.kms.*", made.wire.seen)
    return made


def user(name, account=OWN):
    return f"arn:aws:iam::{account}:user/{name}"


def root_of(account):
    return f"arn:aws:iam::{account}:root"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def delegation(account=OWN):
    return {"Effect": "Allow", "Principal": {"AWS": root_of(account)}, "Action": "kms:*",
            "Resource": "*"}


def allow(principal, actions, condition=None, effect="Allow"):
    statement = {"Effect": effect, "Principal": {"AWS": principal}, "Action": actions,
                 "Resource": "*"}
    return statement | ({"Condition": condition} if condition else {})


def alias_name(suffix):
    """A name that no other run of a test has used."""
    return f"alias/t{time.monotonic_ns()}-{suffix}"


class KmsTest(unittest.TestCase):
    """A test with the root's client, new keys, and refusals that are looked at closely."""

    maxDiff = None

    def setUp(self):
        self.kms = client()

    def key(self, kms=None, **parameters):
        return (kms or self.kms).create_key(**parameters)["KeyMetadata"]["Arn"]

    def key_with_policy(self, *statements):
        return self.key(Policy=document(*statements), BypassPolicyLockoutSafetyCheck=True)

    def key_of_kind(self, spec, usage):
        return self.key(KeySpec=spec, KeyUsage=usage)

    def sealed(self, key, plaintext=b"plaintext", kms=None, **context):
        """Underscores in the names of the context stay; use `pairs` for others."""
        pairs = context.pop("pairs", None) or context
        return (kms or self.kms).encrypt(
            KeyId=key, Plaintext=plaintext, EncryptionContext=pairs)["CiphertextBlob"]

    def state(self, key):
        return self.kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]

    @contextlib.contextmanager
    def refused(self, exception, message=None, by=None, silent=False):
        """The call fails with this exception: by name, by status, and in the body."""
        by = by or self.kms
        with self.assertRaises(ClientError) as caught:
            yield caught
        response = caught.exception.response
        self.assertEqual(response["Error"]["Code"], exception, response)
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], 400)
        fault = json.loads(by.wire.last["body"])
        self.assertEqual(fault["__type"], exception)
        if silent:
            self.assertEqual(set(fault), {"__type"})
        if message is not None:
            self.assertEqual(fault["message"], message)

    def message(self, caught):
        return caught.exception.response["Error"].get("Message", "")

    @contextlib.contextmanager
    def eventually(self, seconds=10):
        yield Patience(seconds)


class Patience:
    """Waits for what happens by itself, never for a fixed time."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def until(self, holds):
        while not holds():
            if time.monotonic() > self.end:
                raise AssertionError("it did not come about in time")
            time.sleep(0.05)


def must(field, value, constraint):
    """The words of one violated constraint; a value of None is not repeated."""
    told = "" if value is None else f" '{value}'"
    return (f"1 validation error detected: Value{told} at '{field}' failed to satisfy "
            f"constraint: Member must {constraint}")
