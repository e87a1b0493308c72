"""An Athena on loopback that runs the SQL for real, for the tests alone."""

import io
from contextlib import contextmanager

import pandas as pd
import pytest

from tests.aws_servers import ministack_server

TABLE = {
    "Name": "payments",
    "StorageDescriptor": {
        "Columns": [
            {"Name": "paid_at", "Type": "timestamp"},
            {"Name": "country", "Type": "string"},
            {"Name": "amount", "Type": "double"},
        ],
        "Location": "s3://pay/payments/",
        "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        "SerdeInfo": {
            "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
        },
    },
}
ROWS = [
    ("2024-01-01 00:30:00", "DE", 10.5),
    ("2024-01-31 23:59:59.999", "DE", 1.25),
    ("2024-02-01 00:00:00", "FR", 2.0),
    ("2024-02-29 12:00:00", "FR", -0.75),
    ("2024-02-10 10:00:00", "D'E; -- %s", 4.0),
]


def prepare_environment(patch, url):
    patch.setenv("AWS_ENDPOINT_URL", url)
    patch.setenv("AWS_ACCESS_KEY_ID", "testing")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    patch.setenv("AWS_SESSION_TOKEN", "token-of-the-session")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_MAX_ATTEMPTS", "1")
    patch.delenv("AWS_PROFILE", raising=False)


@contextmanager
def athena_server(folder):
    """Give the address of an Athena on loopback whose database shop has a table of payments."""
    import boto3

    with ministack_server(folder) as url:
        with pytest.MonkeyPatch.context() as patch:
            prepare_environment(patch, url)
            body = io.BytesIO()
            table = pd.DataFrame(ROWS, columns=["paid_at", "country", "amount"])
            table["paid_at"] = pd.to_datetime(table["paid_at"], format="ISO8601").dt.as_unit("us")
            table.to_parquet(body, index=False)
            s3, glue = boto3.client("s3"), boto3.client("glue")
            s3.create_bucket(Bucket="pay")
            s3.put_object(Bucket="pay", Key="payments/part-0.parquet", Body=body.getvalue())
            glue.create_database(DatabaseInput={"Name": "shop"})
            glue.create_table(DatabaseName="shop", TableInput=TABLE)
        yield url
