"""The stack's promises, read off template.yaml: least privilege, encryption, no secret in plain.

The template breaks none of the rules, and a template that was changed for the worse breaks some:
a rule that cannot fail would hold nothing.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from benchmarks.cost import SIZES, peak_gib, table
from components.settings import Settings
from components.wiring import source_of
from tests.stack import ACCOUNT, PATH, REGION, Stack, mutated, policies
from tests.stack_rules import (
    EVERY_ACTION,
    FARGATE,
    ON_EVERYTHING,
    RULES,
    TEMPLATE,
    WORLDS,
    stacks,
)

R = "Resources/"
NETWORK = R + "MainRun/Properties/Target/EcsParameters/NetworkConfiguration/AwsvpcConfiguration/"
TASK = R + "TaskDefinition/Properties/ContainerDefinitions/0/"
SCHEDULER = R + "SchedulerRole/Properties/"
LAKE = R + "TaskRole/Properties/Policies/0/PolicyDocument/Statement/"
START = R + "ExecutionRole/Properties/Policies/0/PolicyDocument/Statement/"
RUN = SCHEDULER + "Policies/0/PolicyDocument/Statement/"
ATHENA = R + "AthenaPolicy/Properties/PolicyDocument/Statement/"
KEY = R + "Key/Properties/KeyPolicy/Statement/"
TOPIC = R + "TopicPolicy/Properties/PolicyDocument/Statement/"
HEARTBEAT = R + "HeartbeatAlarm/Properties/"
GENERATED = R + "DatabaseSecret/Properties/GenerateSecretString/"
LIFECYCLE = R + "Bucket/Properties/LifecycleConfiguration/Rules/"
RAW = LIFECYCLE + "0/"
TRUST = "Properties/AssumeRolePolicyDocument/Statement/0/Condition"
GROUPS = NETWORK.removeprefix(R + "MainRun/") + "SecurityGroups"
LOGS_ARN = "kms:EncryptionContext:aws:logs:arn"
NO_POINTS = "${DatabaseSecret}:password"


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
        "tasks_alone_take_the_roles",
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
        "Rules/FargateHasTheSize/Assertions/0/Assert/Fn::Or/0/Fn::And/1/Fn::Contains/0",
        with_more("8192"),
    ),
    ("sizes_are_those_of_fargate", "Rules/FargateHasTheSize", None),
    ("sizes_are_those_of_fargate", "Rules/QueriesAreNamed", None),
    ("sizes_are_those_of_fargate", "Rules/MailNeedsItsEnds", None),
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
    ("the_operator_is_told", "Outputs/RunCommand/Value/Fn::Sub/1/Public", "DISABLED"),
    # An alarm that cannot ring, or that rings without end.
    *(
        ("alarms_are_heard", f"{R}{name}Alarm/Properties/{part}", value)
        for name in ("TaskFailed", "TaskPartial", "DeadLetters")
        for part, value in (
            ("Threshold", 100),
            ("Threshold", 0),
            ("ComparisonOperator", "GreaterThanThreshold"),
            ("ComparisonOperator", "LessThanThreshold"),
            ("EvaluationPeriods", 3),
            ("Statistic", "Minimum"),
            ("TreatMissingData", "breaching"),
            ("Period", 3600),
        )
    ),
    *(
        ("alarms_are_heard", f"{R}{name}Alarm/Properties/Namespace", "AWS/ECS")
        for name in ("TaskFailed", "DeadLetters")
    ),
    ("alarms_are_heard", HEARTBEAT + "ComparisonOperator", "GreaterThanThreshold"),
    ("alarms_are_heard", HEARTBEAT + "ComparisonOperator", "LessThanOrEqualToThreshold"),
    ("alarms_are_heard", HEARTBEAT + "Threshold", 0),
    ("alarms_are_heard", HEARTBEAT + "DatapointsToAlarm", 1),
    ("alarms_are_heard", HEARTBEAT + "Statistic", "Minimum"),
    (
        "alarms_are_heard",
        R + "Heartbeats/Properties/MetricTransformations/0/MetricValue",
        "0",
    ),
    # A service that may not do its part.
    ("services_may_do_their_part", KEY + "2/Action", ["kms:Decrypt"]),
    ("services_may_do_their_part", KEY + "2/Action", ["kms:GenerateDataKey*"]),
    (
        "services_may_do_their_part",
        KEY + "2/Condition/ArnEquals",
        {"kms:EncryptionContext:aws:sns:topic": "*"},
    ),
    ("services_may_do_their_part", KEY + "2/Condition", None),
    ("services_may_do_their_part", KEY + "2/Principal/Service", "sns.amazonaws.com"),
    ("services_may_do_their_part", KEY + "1/Principal/Service", "logs.amazonaws.com"),
    ("services_may_do_their_part", KEY + "1/Action", ["kms:Encrypt", "kms:Decrypt"]),
    ("services_may_do_their_part", KEY + "1/Condition", None),
    ("services_may_do_their_part", KEY + "1/Condition/ArnLike/" + LOGS_ARN + "/1", None),
    ("services_may_do_their_part", KEY + "0", None),
    ("services_may_do_their_part", TOPIC + "0/Action", "sns:Subscribe"),
    ("services_may_do_their_part", TOPIC + "0/Principal/Service", "events.amazonaws.com"),
    ("services_may_do_their_part", TOPIC + "0/Condition", None),
    *(
        (
            "services_may_do_their_part",
            R + "EndedTasksPolicy/Properties/PolicyDocument/Fn::Sub",
            lambda text, old=old, new=new: text.replace(old, new),
        )
        for old, new in (
            ("events.amazonaws.com", "ecs.amazonaws.com"),
            ("delivery.logs.amazonaws.com", "logs.amazonaws.com"),
            ("logs:PutLogEvents", "logs:GetLogEvents"),
            ("logs:CreateLogStream", "logs:CreateLogGroup"),
            ("${TaskPartialRule.Arn}", "${TaskFailedRule.Arn}"),
            ("aws:SourceArn", "aws:SourceRule"),
            ("${EndedTasks.Arn}", "${LogGroup.Arn}"),
            ('"Allow"', '"Deny"'),
        )
    ),
    (
        "services_may_do_their_part",
        R + "TaskFailedRule/Properties/Targets/0/Arn",
        {"Fn::GetAtt": ["LogGroup", "Arn"]},
    ),
    *(
        ("only_by_tls", f"{R}{name}/Properties/PolicyDocument/Statement/{n}/Action", action)
        for name, n, action in (
            ("BucketPolicy", 0, "s3:GetBucketAcl"),
            ("DeadLettersPolicy", 0, "sqs:SendMessage"),
            ("TopicPolicy", 1, "sns:Subscribe"),
        )
    ),
    (
        "only_by_tls",
        R + "BucketPolicy/Properties/PolicyDocument/Statement/0/Resource",
        [{"Fn::GetAtt": ["Bucket", "Arn"]}],
    ),
    ("only_by_tls", R + "BucketPolicy/Properties/PolicyDocument/Statement/0/Condition", {}),
    ("only_by_tls", R + "BucketPolicy/Properties/Bucket", "other"),
    ("only_by_tls", R + "TopicPolicy/Properties/Topics", []),
    # A task that is not let to its database.
    *(
        (
            "schedules_run_the_task",
            f"{R}{name}/{GROUPS}",
            [{"Fn::GetAtt": ["TaskGroup", "GroupId"]}],
        )
        for name in ("MainRun", "CatchUpRun")
    ),
    ("the_operator_is_told", f"{R}CatchUpRun/{GROUPS}", []),
    ("the_task_knows_its_database", R + "Database/Properties/MasterUsername", "admin"),
    ("the_task_knows_its_database", R + "Database/Properties/DBName", "postgres"),
    ("the_task_knows_its_database", R + "Database/Properties/Port", 5433),
    (
        "the_task_knows_its_database",
        R + "Database/Properties/MasterUserPassword",
        {"Fn::Sub": "{{resolve:secretsmanager:${DatabaseSecret}:SecretString:username}}"},
    ),
    ("the_task_knows_its_database", GENERATED + "SecretStringTemplate", '{"username": "admin"}'),
    ("the_task_knows_its_database", GENERATED + "GenerateStringKey", "pass"),
    ("the_task_knows_its_database", GENERATED + "ExcludePunctuation", False),
    ("the_task_knows_its_database", GENERATED + "PasswordLength", 200),
    (
        "the_task_knows_its_database",
        TASK + "Environment/3/Fn::If/1/Value/Fn::Sub",
        lambda url: url.replace("tremor@", "postgres@"),
    ),
    ("doors_meet", R + "DatabaseGroup/Properties/SecurityGroupIngress/0/FromPort", 5433),
    ("doors_meet", R + "DatabaseGroup/Properties/SecurityGroupIngress", None),
    ("doors_meet", R + "EndpointGroup/Properties/SecurityGroupIngress/0/ToPort", 80),
    ("doors_meet", R + "DatabaseClientGroup/Properties/SecurityGroupEgress/0/ToPort", 5433),
    (
        "doors_meet",
        R + "DatabaseClientGroup/Properties/SecurityGroupEgress/0/DestinationSecurityGroupId",
        {"Fn::GetAtt": ["TaskGroup", "GroupId"]},
    ),
    # Secrets that are not what their names say.
    ("each_secret_is_its_own", TASK + "Secrets/0/Fn::If/1/ValueFrom/Fn::Sub", NO_POINTS),
    (
        "each_secret_is_its_own",
        TASK + "Secrets/0/Fn::If/1/ValueFrom/Fn::Sub",
        "${DatabaseSecret}:username::",
    ),
    ("each_secret_is_its_own", TASK + "Secrets/1/Fn::If/1/ValueFrom/Ref", "WebhookUrlSecretArn"),
    (
        "each_secret_is_its_own",
        TASK + "Secrets/5/Fn::If/1/ValueFrom/Fn::Sub",
        "${PolygonFlatSecretArn}:secret::",
    ),
    ("each_secret_is_its_own", TASK + "Secrets/7", None),
    # Roles that are too small.
    ("roles_are_small", START + "1/Action", ["ecr:BatchGetImage"]),
    ("roles_are_small", START + "1/Action/2", None),
    ("roles_are_small", START + "2/Action", ["logs:PutLogEvents"]),
    ("roles_are_small", START + "4/Resource/1", None),
    ("roles_are_small", START + "5/Fn::If/1/Resource/1", {"Fn::GetAtt": ["Bucket", "Arn"]}),
    ("roles_are_small", START + "5/Fn::If/1/Action", ["s3:GetObject"]),
    (
        "tasks_alone_take_the_roles",
        TASK + "EnvironmentFiles/Fn::If/1/0/Value/Fn::Sub",
        "${Bucket.Arn}/x.env",
    ),
    ("roles_are_small", TASK + "Environment/2/Value/Fn::Sub", "s3://${Bucket}/data"),
    ("roles_are_small", TASK + "Environment/2/Value/Fn::Sub", "s3://${AthenaTablesBucket}/lake"),
    ("roles_are_small", LAKE + "4", None),
    ("roles_are_small", LAKE + "5/Fn::If/1/Action", ["kms:GenerateDataKey"]),
    *(("roles_are_small", f"{ATHENA}{n}", None) for n in range(5)),
    *(("roles_are_small", f"{ATHENA}1/Action/{n}", None) for n in range(6)),
    *(("roles_are_small", f"{ATHENA}1/Resource/{n}", None) for n in range(4)),
    *(("roles_are_small", f"{ATHENA}3/Action/{n}", None) for n in range(5)),
    ("the_scheduler_may_run_this_task_alone", RUN + "3/Action", ["kms:GenerateDataKey"]),
    # A network that does not carry it.
    ("little_goes_out", R + "TaskGroup/Properties/SecurityGroupEgress/0", None),
    ("little_goes_out", R + "TaskGroup/Properties/SecurityGroupEgress/3", None),
    ("every_subnet_has_its_way", R + "PublicRoute", None),
    ("every_subnet_has_its_way", R + "NatRoute", None),
    ("every_subnet_has_its_way", R + "PublicRoutesA", None),
    ("every_subnet_has_its_way", R + "InternetAttachment", None),
    ("every_subnet_has_its_way", R + "NatGateway/Properties/SubnetId/Ref", "PrivateSubnetA"),
    ("services_are_found_inside", R + "Vpc/Properties/EnableDnsSupport", False),
    ("services_are_found_inside", R + "Vpc/Properties/EnableDnsHostnames", None),
    ("services_are_found_inside", R + "EcrApiEndpoint", None),
    ("services_are_found_inside", R + "LogsEndpoint/Properties/PrivateDnsEnabled", False),
    ("services_are_found_inside", R + "BucketEndpoint/Properties/RouteTableIds/1", None),
    ("raw_replies_get_cheaper", RAW + "Prefix", "raw/"),
    ("raw_replies_get_cheaper", RAW + "Status", "Disabled"),
    ("raw_replies_get_cheaper", RAW + "Transitions/1/StorageClass", "DEEP_ARCHIVE"),
    ("raw_replies_get_cheaper", "Parameters/RawArchiveAfterDays/Default", 40),
    ("raw_replies_get_cheaper", TASK + "Environment/2/Value/Fn::Sub", "s3://${Bucket}/data"),
    ("data_outlives_the_stack", R + "BucketPolicy/DeletionPolicy", None),
    *(("each_setting_is_its_own", f"{TASK}Environment/{n}", None) for n in (0, 1, *range(4, 13))),
    ("each_setting_is_its_own", TASK + "Environment/8/Fn::If/1/Value/Ref", "AlertFrom"),
    (
        "each_setting_is_its_own",
        TASK + "Environment/6",
        {"Name": "TREMOR_ALERTS_PER_YEAR", "Value": {"Ref": "AlertsPerYear"}},
    ),
    *(("what_was_replaced_ends", f"{LIFECYCLE}{n}", None) for n in range(1, 6)),
    ("what_was_replaced_ends", LIFECYCLE + "1/Status", "Disabled"),
    ("what_was_replaced_ends", LIFECYCLE + "5/AbortIncompleteMultipartUpload", None),
    ("alarms_are_heard", R + "Heartbeats/Properties/LogGroupName/Ref", "EndedTasks"),
    *(
        ("alarms_are_heard", f"{R}{name}Alarm/Properties/Dimensions/0/Name", "Name")
        for name in ("TaskFailed", "TaskPartial", "DeadLetters")
    ),
    *(
        ("tasks_alone_take_the_roles", f"{R}{role}/{TRUST}/{operator}", None)
        for role in ("TaskRole", "ExecutionRole")
        for operator in ("StringEquals", "ArnLike")
    ),
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


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_sizes_of_the_table_hold_what_was_measured(size):
    """Fargate has the size, and a third of its memory is left; twice, where it is reckoned."""
    assert size.memory_gib * 1024 in FARGATE[int(size.vcpu * 1024)]
    assert peak_gib(size.n) * (2 if size.n > 1_000 else 1.5) <= size.memory_gib


def given_to_the_task(parameters, secrets, monkeypatch):
    """Set the environment as the task would have it; secrets by their settings' names."""
    stack = Stack(TEMPLATE, parameters)
    assert stack.broken_rules() == []
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    for entry in container["Environment"]:
        monkeypatch.setenv(entry["Name"], entry["Value"])
    for entry in container["Secrets"]:
        monkeypatch.setenv(entry["Name"], secrets.get(entry["Name"], "pass/word"))
    return Settings(_env_file=None)


@pytest.mark.parametrize("world", WORLDS)
def test_the_program_reads_what_the_task_is_given(world, monkeypatch):
    """Names and values together make settings, the database's address and password among them."""
    secrets = {
        "TREMOR_WAREHOUSE_URL": "postgresql://u:p@db.example/w",
        "TREMOR_SMTP_URL": "smtp://u:p@mail.example:587",
        "TREMOR_WEBHOOK_URL": "https://hook.example/x",
        "TREMOR_HEARTBEAT_URL": "https://beat.example/x",
    }
    settings = given_to_the_task(WORLDS[world], secrets, monkeypatch)
    assert settings.lake_root == "s3://bucket/lake"
    assert settings.warehouse in (
        "postgresql://tremor:pass%2Fword@database.endpoint.address:database.endpoint.port/tremor"
        "?sslmode=require",
        "postgresql://u:p@db.example/w",
    )


def test_a_settings_file_is_heard():
    """What a parameter leaves unset is not in the environment, which would go before the file."""
    (container,) = Stack(TEMPLATE).properties("TaskDefinition")["ContainerDefinitions"]
    always = {entry["Name"] for entry in (*container["Environment"], *container["Secrets"])}
    assert always == {
        "AWS_DEFAULT_REGION",
        "TREMOR_LAKE_URL",
        "TREMOR_SOURCE",
        "TREMOR_STATE_DIR",
        "TREMOR_WAREHOUSE_PASSWORD",
        "TREMOR_WAREHOUSE_URL",
    }
    for name in always - {"AWS_DEFAULT_REGION"}:
        assert f"`{name}`" in DEPLOYING


ADDRESS = "postgresql://reader:secret@payments.example/shop"
ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:x-AbCdEf"
QUERY = "select ts, amount as value from payments where ts >= :since and ts < :until"

# What each source needs besides its name.
NEEDS = {
    "athena": {
        "AthenaDatabase": "shop",
        "AthenaTablesBucket": "tables",
        "MeasuresQuery": "settings/payments.sql",
    },
    "polygon": {"PolygonApiKeySecretArn": ARN},
    "sql": {"SqlUrlSecretArn": ARN, "MeasuresQuery": "settings/payments.sql"},
}


@pytest.mark.parametrize("source", TEMPLATE["Parameters"]["Source"]["AllowedValues"])
def test_every_source_of_the_stack_opens(source, s3_url, monkeypatch):
    """With the settings that the task gets, and the query read from the stack's own bucket."""
    bucket = s3_url.removeprefix("s3://").partition("/")[0]
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    boto3.client("s3").put_object(Bucket=bucket, Key="settings/payments.sql", Body=QUERY.encode())
    calls = []
    boto3.DEFAULT_SESSION.events.register(
        "provide-client-params.s3",
        lambda params, model, **_: calls.append((model.name, params["Bucket"], params.get("Key"))),
    )
    parameters = {"Source": source, **NEEDS.get(source, {})}
    given_to_the_task(parameters, {"TREMOR_SQL_URL": ADDRESS}, monkeypatch)
    query = f"s3://{Stack(TEMPLATE).ref('Bucket')}/settings/payments.sql"
    if "MeasuresQuery" in parameters:
        assert os.environ["TREMOR_MEASURES_QUERY"] == query
        # The stack's bucket has another name here than in the stack that is thought of.
        monkeypatch.setenv("TREMOR_MEASURES_QUERY", f"s3://{bucket}/settings/payments.sql")
    opened = source_of(Settings(_env_file=None))
    assert opened.name == source
    if "MeasuresQuery" in parameters:
        assert opened.symbols() == ("payments",)
        assert opened.query.text == QUERY
    # The role reads that one object and may not look around for it.
    wanted = [("GetObject", bucket, "settings/payments.sql")]
    assert calls == (wanted if "MeasuresQuery" in parameters else [])
