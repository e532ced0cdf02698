"""Cases 49 to 58: policies, tags, aliases, dry runs."""

from support import *

DENIED = "AccessDeniedException"
CLUSTER = {"aws:ecs:clusterAccount": OWN, "aws:ecs:clusterName": "blue"}


def fargate_policy():
    """As Fargate documents it."""
    context = {f"kms:EncryptionContext:{name}": [value] for name, value in CLUSTER.items()}
    principal = {"Service": "fargate.amazonaws.com"}
    return (
        delegation(),
        {"Effect": "Allow", "Principal": principal, "Resource": "*",
         "Action": ["kms:GenerateDataKeyWithoutPlaintext"],
         "Condition": {"StringEquals": context}},
        {"Effect": "Allow", "Principal": principal, "Resource": "*",
         "Action": ["kms:CreateGrant"],
         "Condition": {"StringEquals": context,
                       "ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt"]}}},
    )


class Policies(KmsTest):
    def case_49_iam_allows_nothing_without_delegation(self):
        key = self.key_with_policy(allow(user("owner"), "kms:*"))
        for who in ("admin", "root"):
            caller = client(who)
            with self.refused(DENIED, by=caller):
                caller.encrypt(KeyId=key, Plaintext=b"x")
        client("owner").encrypt(KeyId=key, Plaintext=b"x")

    def keys_with(self, **more):
        names = "kms:EncryptionContextKeys"
        condition = {"ForAllValues:StringEquals": {names: ["a"]}}
        return self.key_with_policy(
            delegation(), allow(user("powerless"), "kms:Encrypt", condition | more))

    def case_50_for_all_values_is_true_without_a_context(self):
        key, caller = self.keys_with(), client("powerless")
        self.sealed(key, kms=caller)
        self.sealed(key, kms=caller, a="1")
        with self.refused(DENIED, by=caller):
            self.sealed(key, kms=caller, b="1")

    def case_51_null_false_asks_for_a_context(self):
        key = self.keys_with(Null={"kms:EncryptionContextKeys": "false"})
        caller = client("powerless")
        self.sealed(key, kms=caller, a="1")
        with self.refused(DENIED, by=caller):
            self.sealed(key, kms=caller)

    def cluster_grant(self, key, operations):
        return client("fargate").create_grant(
            KeyId=key, GranteePrincipal=FARGATE, Operations=operations,
            RetiringPrincipal=f"ec2.{REGION}.amazonaws.com",
            Constraints={"EncryptionContextSubset": CLUSTER})

    def case_52_fargate_grants_decrypt_and_nothing_else(self):
        key, fargate = self.key_with_policy(*fargate_policy()), client("fargate")
        with self.refused(DENIED, by=fargate):
            self.cluster_grant(key, ["Decrypt", "Encrypt"])
        self.cluster_grant(key, ["Decrypt"])

    def case_53_fargate_decrypts_by_a_grant_alone(self):
        key, fargate = self.key_with_policy(*fargate_policy()), client("fargate")
        made = fargate.generate_data_key_without_plaintext(
            KeyId=key, NumberOfBytes=64, EncryptionContext=CLUSTER)["CiphertextBlob"]
        with self.refused(DENIED, by=fargate):
            fargate.decrypt(CiphertextBlob=made, EncryptionContext=CLUSTER)
        token = self.cluster_grant(key, ["Decrypt"])["GrantToken"]
        opened = fargate.decrypt(
            CiphertextBlob=made, EncryptionContext=CLUSTER, GrantTokens=[token])
        self.assertEqual(len(opened["Plaintext"]), 64)

    def case_54_a_policy_that_locks_the_caller_out(self):
        key, locking = self.key(), document(allow(user("owner"), "kms:*"))
        with self.refused("MalformedPolicyDocumentException"):
            self.kms.put_key_policy(KeyId=key, Policy=locking)
        with self.refused("MalformedPolicyDocumentException"):
            self.kms.create_key(Policy=locking)
        self.kms.put_key_policy(
            KeyId=key, Policy=locking, BypassPolicyLockoutSafetyCheck=True)
        with self.refused(DENIED):
            self.kms.get_key_policy(KeyId=key)

    def case_55_tags_that_are_refused(self):
        key = self.key()

        def tags(*names):
            return [{"TagKey": name, "TagValue": "v"} for name in names]

        many = tags(*(f"k{n}" for n in range(51)))
        for bad in (tags("a", "a"), tags("aws:a"), tags("AWS:a"), many):
            with self.refused("TagException"):
                self.kms.tag_resource(KeyId=key, Tags=bad)
            with self.refused("TagException"):
                self.kms.create_key(Tags=bad)
        self.kms.tag_resource(KeyId=key, Tags=many[:50])
        self.assertEqual(len(self.kms.list_resource_tags(KeyId=key)["Tags"]), 50)

    def case_56_values_have_256_characters(self):
        with self.refused("ValidationException"):
            self.kms.tag_resource(
                KeyId=self.key(), Tags=[{"TagKey": "a", "TagValue": "v" * 257}])

    def case_57_an_alias_begins_with_alias(self):
        with self.refused("ValidationException"):
            self.kms.create_alias(AliasName="volumes", TargetKeyId=self.key())

    def case_58_dry_runs_say_whether_it_would_have_worked(self):
        key = self.key()
        sealed = self.sealed(key)
        for caller, exception in (
            (self.kms, "DryRunOperationException"), (client("powerless"), DENIED),
        ):
            for call, request in (
                (caller.encrypt, {"KeyId": key, "Plaintext": b"x"}),
                (caller.decrypt, {"CiphertextBlob": sealed}),
                (caller.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
                (caller.create_grant, {"KeyId": key, "GranteePrincipal": user("grantee"),
                                       "Operations": ["Decrypt"]}),
            ):
                with self.refused(exception, by=caller):
                    call(DryRun=True, **request)
        self.assertEqual(self.kms.list_grants(KeyId=key)["Grants"], [])

    def test_both_accounts_must_agree(self):
        foreign = client("foreign")
        key = self.key_with_policy(delegation(), delegation(OTHER))
        foreign.encrypt(KeyId=key, Plaintext=b"x")
        with self.refused(DENIED, by=foreign):
            foreign.encrypt(KeyId=self.key(), Plaintext=b"x")

    def test_a_user_of_ebs_makes_grants_through_ec2_alone(self):
        """The test key `ebs-through-ec2` counts as used by EC2 on the user's behalf."""
        key, ec2 = self.key(), f"ec2.{REGION}.amazonaws.com"
        direct, through = client("ebs"), client("ebs-through-ec2")
        context = {"aws:ebs:id": "vol-1"}
        for caller in (direct, through):
            made = caller.generate_data_key_without_plaintext(
                KeyId=key, NumberOfBytes=64, EncryptionContext=context)
            caller.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
            caller.describe_key(KeyId=key)
        request = {"KeyId": key, "GranteePrincipal": ec2, "Operations": ["Decrypt"],
                   "Constraints": {"EncryptionContextSubset": context}}
        with self.refused(DENIED, by=direct):
            direct.create_grant(**request)
        through.create_grant(**request)
        with self.refused(DENIED, by=through):
            through.encrypt(KeyId=key, Plaintext=b"x")
