"""The stack's promises, read off template.yaml: least privilege, encryption, no secret in plain.

The template breaks none of the rules, and a template that was changed for the worse breaks some:
a rule that cannot fail would hold nothing.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cost import table
from components.settings import Settings
from tests.stack import PATH, Stack, mutated, policies
from tests.stack_rules import EVERY_ACTION, ON_EVERYTHING, RULES, TEMPLATE, WORLDS, stacks

R = "Resources/"
NETWORK = R + "MainRun/Properties/Target/EcsParameters/NetworkConfiguration/AwsvpcConfiguration/"
TASK = R + "TaskDefinition/Properties/ContainerDefinitions/0/"
SCHEDULER = R + "SchedulerRole/Properties/"
LAKE = R + "TaskRole/Properties/Policies/0/PolicyDocument/Statement/"
START = R + "ExecutionRole/Properties/Policies/0/PolicyDocument/Statement/"
RUN = SCHEDULER + "Policies/0/PolicyDocument/Statement/"


def with_more(*entries):
    return lambda found: [*found, *entries]


# Changes for the worse: the rule that sees them, the place, and what is put there.
WORSE = [
    ("no_wildcards", LAKE + "1/Action", "*"),
    ("no_wildcards", LAKE + "1/Action", "s3:*"),
    ("no_wildcards", LAKE + "1/Resource", "*"),
    ("no_wildcards", START + "3/Resource", ["*"]),
    ("no_wildcards", RUN + "0/Resource", "*"),
    ("no_wildcards", RUN + "1/NotAction", "iam:CreateRole"),
    ("no_wildcards", R + "TopicPolicy/Properties/PolicyDocument/Statement/0/Principal", "*"),
    (
        "no_wildcards",
        R + "EndedTasksPolicy/Properties/PolicyDocument",
        '{"Statement": {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}}',
    ),
    ("all_encrypted", R + "Bucket/Properties/BucketEncryption", None),
    ("all_encrypted", R + "Database/Properties/StorageEncrypted", False),
    ("all_encrypted", R + "Database/Properties/KmsKeyId", None),
    ("all_encrypted", R + "DatabaseSecret/Properties/KmsKeyId", None),
    ("all_encrypted", R + "DeadLetters/Properties/KmsMasterKeyId", None),
    ("all_encrypted", R + "Topic/Properties/KmsMasterKeyId", None),
    ("all_encrypted", R + "LogGroup/Properties/KmsKeyId", None),
    ("all_encrypted", R + "Repository/Properties/EncryptionConfiguration", None),
    ("all_encrypted", R + "Key/Properties/EnableKeyRotation", False),
    ("all_encrypted", R + "Disk", {"Type": "AWS::EFS::FileSystem", "Properties": {}}),
    ("only_by_tls", R + "BucketPolicy/Properties/PolicyDocument/Statement/0/Effect", "Allow"),
    ("only_by_tls", R + "DeadLettersPolicy/Properties/PolicyDocument/Statement", []),
    (
        "only_by_tls",
        R + "TopicPolicy/Properties/PolicyDocument/Statement/1/Principal",
        {"AWS": "x"},
    ),
    ("only_by_tls", R + "BucketPolicy", None),
    (
        "secrets_stay_secret",
        TASK + "Environment",
        with_more({"Name": "TREMOR_SMTP_URL", "Value": "x"}),
    ),
    (
        "secrets_stay_secret",
        TASK + "Environment",
        with_more({"Name": "TREMOR_POLYGON_API_KEY", "Value": ""}),
    ),
    (
        "secrets_stay_secret",
        TASK + "Environment",
        with_more({"Name": "TREMOR_YAHOO_URL", "Value": "http://a:b@c"}),
    ),
    (
        "secrets_stay_secret",
        TASK + "Environment",
        with_more(
            {"Name": "TREMOR_WAREHOUSE_URL", "Value": "postgresql://a:b@c/d?sslmode=require"}
        ),
    ),
    (
        "secrets_stay_secret",
        TASK + "Environment",
        with_more({"Name": "TREMOR_WAREHOUSE_URL", "Value": "postgresql://a@c/d"}),
    ),
    (
        "secrets_stay_secret",
        TASK + "Secrets",
        with_more({"Name": "TREMOR_SMTP_URL", "ValueFrom": "smtp://a:b@c"}),
    ),
    ("secrets_stay_secret", R + "Database/Properties/MasterUserPassword", "hunter2hunter2"),
    ("every_secret_has_a_way_in", TASK + "Secrets/2", None),
    ("every_secret_has_a_way_in", TASK + "Secrets/0", None),
    (
        "nothing_starts_the_task_again",
        R + "Service",
        {"Type": "AWS::ECS::Service", "Properties": {}},
    ),
    (
        "nothing_starts_the_task_again",
        R + "TaskFailedRule/Properties/Targets/0/Arn",
        "arn:aws:ecs:x",
    ),
    (
        "the_scheduler_may_run_this_task_alone",
        SCHEDULER + "AssumeRolePolicyDocument/Statement/0/Principal/Service",
        "events.amazonaws.com",
    ),
    (
        "the_scheduler_may_run_this_task_alone",
        SCHEDULER + "AssumeRolePolicyDocument/Statement/0/Principal/Service",
        ["scheduler.amazonaws.com", "ecs-tasks.amazonaws.com"],
    ),
    (
        "the_scheduler_may_run_this_task_alone",
        SCHEDULER + "AssumeRolePolicyDocument/Statement/0/Condition",
        None,
    ),
    ("the_scheduler_may_run_this_task_alone", RUN + "0/Condition", None),
    ("the_scheduler_may_run_this_task_alone", RUN + "0/Action", ["ecs:RunTask", "ecs:StopTask"]),
    (
        "the_scheduler_may_run_this_task_alone",
        RUN + "0/Resource",
        "arn:aws:ecs:*:*:task-definition/*",
    ),
    ("the_scheduler_may_run_this_task_alone", RUN + "0/Resource", {"Ref": "TaskDefinition"}),
    ("the_scheduler_may_run_this_task_alone", RUN + "1/Resource/1", None),
    ("the_scheduler_may_run_this_task_alone", RUN + "1/Resource", "arn:aws:iam::*:role/*"),
    ("the_scheduler_may_run_this_task_alone", RUN + "1/Condition", None),
    ("the_scheduler_may_run_this_task_alone", RUN + "1/Action", "iam:GetRole"),
    ("the_scheduler_may_run_this_task_alone", RUN + "2", None),
    ("the_scheduler_may_run_this_task_alone", RUN + "3/Condition", None),
    ("schedules_run_the_task", R + "CatchUpRun", None),
    ("schedules_run_the_task", R + "MainRun/Properties/Target/DeadLetterConfig", None),
    ("schedules_run_the_task", R + "MainRun/Properties/Target/RetryPolicy", None),
    (
        "schedules_run_the_task",
        R + "MainRun/Properties/Target/RoleArn",
        {"Fn::GetAtt": ["TaskRole", "Arn"]},
    ),
    ("schedules_run_the_task", R + "MainRun/Properties/FlexibleTimeWindow", {"Mode": "OFF"}),
    ("schedules_run_the_task", R + "MainRun/Properties/State", "DISABLED"),
    (
        "schedules_run_the_task",
        NETWORK + "AssignPublicIp",
        "DISABLED",
    ),
    ("runs_after_the_candle", "Parameters/MainSchedule/Default", "cron(5 0 * * ? *)"),
    ("runs_after_the_candle", "Parameters/CatchUpSchedule/Default", "cron(0 7 * * ? *)"),
    ("runs_after_the_candle", "Parameters/MainSchedule/Default", "rate(1 hour)"),
    ("roles_are_small", LAKE + "3/Resource", {"Fn::Sub": "${Bucket.Arn}/lake/*"}),
    ("roles_are_small", LAKE + "2/Resource", {"Fn::Sub": "${Bucket.Arn}/*"}),
    ("roles_are_small", LAKE + "2/Action", ["s3:PutObject", "s3:DeleteObject"]),
    ("roles_are_small", LAKE + "0/Condition", None),
    ("roles_are_small", LAKE + "2/Resource/3", None),
    ("roles_are_small", START + "3/Resource", {"Fn::Sub": "arn:aws:secretsmanager:*:*:secret:*"}),
    ("roles_are_small", START + "3/Resource/1", None),
    ("roles_are_small", START + "4/Condition", None),
    (
        "roles_are_small",
        R + "TaskRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",
        None,
    ),
    (
        "roles_are_small",
        R + "AthenaPolicy/Properties/PolicyDocument/Statement/0/Resource",
        "arn:aws:athena:*",
    ),
    (
        "no_literals",
        "Parameters/ImageUri/Default",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/x",
    ),
    (
        "no_literals",
        NETWORK + "Subnets",
        ["subnet-0123456789abcdef0"],
    ),
    ("no_literals", TASK + "Environment/2/Value", "s3://my-bucket/lake"),
    ("no_literals", "Parameters/AlarmEmail/Default", "somebody@example.org"),
    ("settings_exist", TASK + "Environment", with_more({"Name": "TREMOR_SYMBOL", "Value": "x"})),
    ("settings_exist", TASK + "Environment", with_more({"Name": "TREMOR_SOURCE", "Value": "x"})),
    ("settings_exist", TASK + "Environment/2", None),
    (
        "parameters_are_told",
        "Parameters/Unused",
        {"Type": "String", "Default": "", "Description": "x"},
    ),
    ("parameters_are_told", "Parameters/LogDays/Default", 45),
    ("parameters_are_told", "Parameters/DatabaseBackupDays/Default", 0),
    ("parameters_are_told", "Parameters/ImageTag/Default", None),
    ("parameters_are_told", "Parameters/ImageTag/Description", None),
    (
        "sizes_are_those_of_fargate",
        "Rules/Memory256/Assertions/0/Assert/Fn::Contains/0",
        with_more("8192"),
    ),
    ("sizes_are_those_of_fargate", "Rules/Memory256", None),
    ("sizes_are_those_of_fargate", "Rules/MailNeedsAServer", None),
    ("alarms_are_heard", R + "TaskFailedAlarm/Properties/AlarmActions", None),
    ("alarms_are_heard", R + "TaskPartialAlarm", None),
    ("alarms_are_heard", R + "DeadLettersAlarm", None),
    ("alarms_are_heard", R + "HeartbeatAlarm", None),
    ("alarms_are_heard", R + "HeartbeatAlarm/Properties/TreatMissingData", "notBreaching"),
    ("alarms_are_heard", R + "HeartbeatAlarm/Properties/Period", 300),
    ("alarms_are_heard", R + "HeartbeatAlarm/Properties/MetricName", "Heartbeat"),
    ("alarms_are_heard", "Parameters/HeartbeatHours/Default", 48),
    ("alarms_are_heard", R + "Heartbeats/Properties/FilterPattern", "heartbeat"),
    (
        "nothing_comes_in",
        R + "TaskGroup/Properties/SecurityGroupIngress",
        [{"IpProtocol": "tcp", "CidrIp": "0.0.0.0/0"}],
    ),
    ("little_goes_out", R + "TaskGroup/Properties/SecurityGroupEgress", None),
    ("little_goes_out", R + "TaskGroup/Properties/SecurityGroupEgress/0/FromPort", 0),
    (
        "little_goes_out",
        R + "TaskGroup/Properties/SecurityGroupEgress",
        with_more({"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIp": "0.0.0.0/0"}),
    ),
    (
        "nothing_comes_in",
        R + "DatabaseGroup/Properties/SecurityGroupIngress/0",
        {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIp": "0.0.0.0/0"},
    ),
    ("the_database_is_private", R + "Database/Properties/PubliclyAccessible", True),
    (
        "the_database_is_private",
        R + "DatabaseSubnets/Properties/SubnetIds/0",
        {"Ref": "PublicSubnetA"},
    ),
    (
        "the_database_is_private",
        R + "PrivateRoutesA/Properties/RouteTableId",
        {"Ref": "PublicRoutes"},
    ),
    ("nothing_comes_in", R + "PublicSubnetA/Properties/MapPublicIpOnLaunch", True),
    ("data_outlives_the_stack", R + "Bucket/DeletionPolicy", "Delete"),
    ("data_outlives_the_stack", R + "Key/DeletionPolicy", None),
    ("data_outlives_the_stack", R + "Database/UpdateReplacePolicy", "Delete"),
    (
        "the_bucket_keeps_raw_replies",
        R + "Bucket/Properties/VersioningConfiguration",
        {"Status": "Suspended"},
    ),
    (
        "the_bucket_keeps_raw_replies",
        R + "Bucket/Properties/PublicAccessBlockConfiguration/BlockPublicPolicy",
        False,
    ),
    (
        "the_bucket_keeps_raw_replies",
        R + "Bucket/Properties/LifecycleConfiguration/Rules/0/ExpirationInDays",
        365,
    ),
    (
        "the_bucket_keeps_raw_replies",
        R + "Bucket/Properties/LifecycleConfiguration/Rules/1/Prefix",
        "lake/",
    ),
    ("data_outlives_the_stack", "Parameters/DatabaseDeletionProtection/Default", "false"),
    ("data_outlives_the_stack", R + "LogGroup/Properties/RetentionInDays", None),
    ("the_task_is_confined", TASK + "User", "0"),
    ("the_task_is_confined", TASK + "User", None),
    ("the_task_is_confined", TASK + "ReadonlyRootFilesystem", False),
    ("the_task_is_confined", TASK + "Privileged", True),
    ("the_task_is_confined", TASK + "MountPoints/0", None),
    ("the_task_is_confined", TASK + "Command", ["serve"]),
    (
        "the_task_is_confined",
        R + "TaskDefinition/Properties/TaskRoleArn",
        {"Fn::GetAtt": ["ExecutionRole", "Arn"]},
    ),
    ("the_task_is_confined", R + "Repository/Properties/ImageScanningConfiguration", None),
    ("the_operator_is_told", "Outputs/RunCommand", None),
    ("the_operator_is_told", "Outputs/RunCommand/Value/Fn::Sub/1/Groups/Fn::Join/1/1", None),
]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_template_keeps_the_rule(rule):
    """The template keeps each rule, under its own defaults and under others."""
    assert list(rule(TEMPLATE)) == []


@pytest.mark.parametrize(
    ("rule", "path", "change"), WORSE, ids=[f"{r}-{n}" for n, (r, _, _) in enumerate(WORSE)]
)
def test_the_rule_sees_a_change_for_the_worse(rule, path, change):
    """A rule that a worse template does not break would hold nothing."""
    assert list(RULES[rule](mutated(TEMPLATE, path, change)))


def test_every_rule_was_seen_to_fail():
    """A rule without a change for the worse may be one that cannot fail."""
    assert {rule for rule, _, _ in WORSE} == set(RULES)


def test_exemptions_are_used():
    """A name that stays on a list of exemptions would let a later statement through."""
    found = {(name, s.get("Sid")) for stack in stacks(TEMPLATE) for name, s in policies(stack)}
    assert found >= set(ON_EVERYTHING) | set(EVERY_ACTION)


def test_cfn_lint_finds_nothing():
    """CloudFormation's own checker has no finding of any level."""
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [lint, "--include-checks", "I", "--", PATH], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_it_goes_up_without_a_bucket():
    """A template of more than 51 200 bytes would need a bucket before there is one."""
    assert PATH.stat().st_size <= 51_200


DEPLOYING = (PATH.parent / "docs" / "DEPLOY.md").read_text()


def test_the_page_tells_every_alarm_and_group_of_parameters():
    """An alarm in the night whose name the page does not know would help nobody."""
    kinds = {name: each["Type"] for name, each in TEMPLATE["Resources"].items()}
    for name in (n for n, kind in kinds.items() if kind == "AWS::CloudWatch::Alarm"):
        assert f"| {name} |" in DEPLOYING
    for word in re.findall(r"`([A-Z][A-Za-z]+)[`=]", DEPLOYING):
        known = {*TEMPLATE["Parameters"], *TEMPLATE["Outputs"], *kinds}
        assert word in known, f"docs/DEPLOY.md names {word}, which the stack has not"


def test_the_table_of_costs_is_the_calculated_one():
    """The page's table can be made again: it is what the script prints."""
    assert table() in DEPLOYING


@pytest.mark.parametrize("world", WORLDS)
def test_the_program_reads_what_the_task_is_given(world, monkeypatch):
    """Names and values together make settings, the database's address and password among them."""
    (container,) = Stack(TEMPLATE, WORLDS[world]).properties("TaskDefinition")[
        "ContainerDefinitions"
    ]
    for entry in container["Environment"]:
        monkeypatch.setenv(entry["Name"], entry["Value"])
    for entry in container["Secrets"]:
        is_url = entry["Name"] == "TREMOR_WAREHOUSE_URL"
        value = "postgresql://u:p@db.example/w" if is_url else "pass/word"
        monkeypatch.setenv(entry["Name"], value)
    settings = Settings(_env_file=None)
    assert settings.lake_root == "s3://bucket/lake"
    assert settings.warehouse in (
        "postgresql://tremor:pass%2Fword@database.endpoint.address:database.endpoint.port/tremor"
        "?sslmode=require",
        "postgresql://u:p@db.example/w",
    )
