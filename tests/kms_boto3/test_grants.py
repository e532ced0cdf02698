"""Cases 35 to 48: grants."""

import time

from support import *

DENIED = "AccessDeniedException"


class Grants(KmsTest):
    def grant(self, key, grantee="grantee", operations=("Decrypt",), kms=None, **more):
        return (kms or self.kms).create_grant(
            KeyId=key, GranteePrincipal=user(grantee), Operations=list(operations), **more)

    def case_35_a_named_grant_is_made_once(self):
        """On the daemon whose grants take time: only a token makes them work at once."""
        slow, grantee = client(slow=True), client("grantee", slow=True)
        key = self.key(slow)
        sealed = self.sealed(key, kms=slow)
        made = [self.grant(key, kms=slow, Name="attachment") for _ in range(2)]
        self.assertEqual(made[0]["GrantId"], made[1]["GrantId"])
        self.assertNotEqual(made[0]["GrantToken"], made[1]["GrantToken"])
        for grant in made:
            grantee.decrypt(CiphertextBlob=sealed, GrantTokens=[grant["GrantToken"]])

    def case_36_an_unnamed_grant_is_made_each_time(self):
        key = self.key()
        self.assertNotEqual(self.grant(key)["GrantId"], self.grant(key)["GrantId"])

    def case_37_names_of_grants_are_the_keys_own(self):
        ids = [self.grant(self.key(), Name="n")["GrantId"] for _ in range(2)]
        self.assertNotEqual(*ids)

    def case_38_operations_that_cannot_be_granted(self):
        key = self.key()
        for operations in (["CreateGrant"], ["Sign"], ["Decrypt", "Sign"], []):
            with self.refused("ValidationException"):
                self.grant(key, operations=operations)

    def case_39_one_kind_of_constraint(self):
        key = self.key()
        for equals, subset in (({"a": "1"}, {}), ({}, {"a": "1"}), ({}, {})):
            constraints = {"EncryptionContextEquals": equals, "EncryptionContextSubset": subset}
            with self.refused("ValidationException", "More than one constraint supplied"):
                self.grant(key, Constraints=constraints)

    def case_40_equals_is_exact_and_subset_is_not(self):
        for kind, opens in (("EncryptionContextEquals", False), ("EncryptionContextSubset", True)):
            key, grantee = self.key(), client("grantee")
            self.grant(key, Constraints={kind: {"a": "1"}})
            one, two = {"a": "1"}, {"a": "1", "b": "2"}
            exact, more = self.sealed(key, pairs=one), self.sealed(key, pairs=two)
            grantee.decrypt(CiphertextBlob=exact, EncryptionContext=one)
            if opens:
                grantee.decrypt(CiphertextBlob=more, EncryptionContext=two)
                continue
            with self.refused(DENIED, by=grantee):
                grantee.decrypt(CiphertextBlob=more, EncryptionContext=two)

    def case_41_describe_key_ignores_the_constraint(self):
        key = self.key()
        self.grant(key, operations=["DescribeKey", "Decrypt"],
                   Constraints={"EncryptionContextEquals": {"a": "1"}})
        client("grantee").describe_key(KeyId=key)

    def case_42_a_grant_needs_its_token_until_it_has_propagated(self):
        slow, grantee = client(slow=True), client("grantee", slow=True)
        key = self.key(slow)
        sealed = self.sealed(key, kms=slow)
        made_at = time.monotonic()
        token = self.grant(key, kms=slow)["GrantToken"]
        grantee.decrypt(CiphertextBlob=sealed, GrantTokens=[token])
        try:
            with self.refused(DENIED, by=grantee):
                grantee.decrypt(CiphertextBlob=sealed)
        except AssertionError:
            # A machine that stood still for so long proves nothing.
            self.assertGreater(time.monotonic() - made_at, PROPAGATION)

        def propagated():
            try:
                return grantee.decrypt(CiphertextBlob=sealed)
            except ClientError as error:
                self.assertEqual(error.response["Error"]["Code"], DENIED)

        Patience(PROPAGATION + 10).until(propagated)
        self.assertGreaterEqual(time.monotonic() - made_at, PROPAGATION - 0.1)

    def case_43_a_child_grant_only_narrows(self):
        """The exception is inferred: as for any other call that no grant allows."""
        key, parent = self.key(), client("parent")
        self.grant(key, "parent", ["Decrypt", "CreateGrant"],
                   Constraints={"EncryptionContextSubset": {"a": "1"}})

        def child(operations, **constraints):
            self.grant(key, "grantee", operations, kms=parent, Constraints=constraints)

        child(["Decrypt"], EncryptionContextSubset={"a": "1"})
        child(["Decrypt"], EncryptionContextEquals={"a": "1", "b": "2"})
        for operations, constraints in (
            (["Decrypt", "Encrypt"], {"EncryptionContextSubset": {"a": "1"}}),
            (["Decrypt"], {"EncryptionContextSubset": {"b": "2"}}),
            (["Decrypt"], {}),
        ):
            with self.refused(DENIED, by=parent):
                child(operations, **constraints)
        # By policy it is unrestricted.
        self.grant(key, "grantee", ["Encrypt"], kms=client("creator"))

    def case_44_a_disabled_key_takes_no_grant(self):
        key = self.key()
        self.kms.disable_key(KeyId=key)
        with self.refused("DisabledException", f"{key} is disabled."):
            self.grant(key)

    def case_45_grants_end_in_every_key_state(self):
        for change in (self.kms.disable_key, self.kms.schedule_key_deletion):
            key = self.key()
            revoked = self.grant(key)
            retired = self.grant(key, operations=["Decrypt", "RetireGrant"])
            change(KeyId=key)
            self.kms.revoke_grant(KeyId=key, GrantId=revoked["GrantId"])
            client("grantee").retire_grant(GrantToken=retired["GrantToken"])
            self.assertEqual(self.kms.list_grants(KeyId=key)["Grants"], [])

    def case_46_a_grantee_retires_only_if_the_grant_says_so(self):
        key, grantee = self.key(), client("grantee")
        grant = self.grant(key)
        with self.refused(DENIED, by=grantee):
            grantee.retire_grant(GrantToken=grant["GrantToken"])
        with self.refused(DENIED, by=grantee):
            grantee.retire_grant(KeyId=key, GrantId=grant["GrantId"])
        grant = self.grant(key, operations=["Decrypt", "RetireGrant"])
        grantee.retire_grant(KeyId=key, GrantId=grant["GrantId"])

    def case_47_a_revoked_grant_allows_nothing(self):
        key, grantee = self.key(), client("grantee")
        sealed, grant = self.sealed(key), self.grant(key)
        grantee.decrypt(CiphertextBlob=sealed)
        self.kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
        with self.refused(DENIED, by=grantee):
            grantee.decrypt(CiphertextBlob=sealed)

    def case_48_a_deny_outweighs_a_grant(self):
        key = self.key_with_policy(
            delegation(), allow(user("grantee"), "kms:Decrypt", effect="Deny"))
        self.grant(key)
        grantee = client("grantee")
        with self.refused(DENIED, by=grantee) as caught:
            grantee.decrypt(CiphertextBlob=self.sealed(key), KeyId=key)
        self.assertIn("with an explicit deny", self.message(caught))

    def test_grants_are_listed_without_their_tokens(self):
        key = self.key()
        made = self.grant(key, Name="n", RetiringPrincipal=user("owner"),
                          Constraints={"EncryptionContextSubset": {"a": "1"}})
        [listed] = self.kms.list_grants(KeyId=key)["Grants"]
        self.assertNotIn(made["GrantToken"], self.kms.wire.last["body"].decode())
        created = listed.pop("CreationDate")
        self.assertLess(abs(created.timestamp() - time.time()), 300)
        self.assertEqual(listed, {
            "KeyId": key, "GrantId": made["GrantId"], "Name": "n",
            "GranteePrincipal": user("grantee"), "RetiringPrincipal": user("owner"),
            "IssuingAccount": root_of(OWN), "Operations": ["Decrypt"],
            "Constraints": {"EncryptionContextSubset": {"a": "1"}},
        })

    def test_listings_go_on_where_they_ended(self):
        key = self.key()
        made = {self.grant(key)["GrantId"] for _ in range(5)}
        pages = list(self.kms.get_paginator("list_grants").paginate(
            KeyId=key, PaginationConfig={"PageSize": 2}))
        self.assertEqual([len(page["Grants"]) for page in pages], [2, 2, 1])
        listed = [grant["GrantId"] for page in pages for grant in page["Grants"]]
        self.assertEqual((set(listed), len(listed)), (made, 5))
        with self.refused("InvalidMarkerException"):
            self.kms.list_grants(KeyId=key, Marker="nonsense")
