"""An Athena on loopback that runs the SQL for real, for the tests alone."""

import io
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pandas as pd
import pytest

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


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


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

    port = free_port()
    environment = {
        **os.environ,
        # Unless told so it would listen on every interface.
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "ERROR",
        "TMPDIR": str(folder),
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, cwd=folder, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text(errors="replace")[-2000:]
                time.sleep(0.1)
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
    finally:
        server.terminate()
        server.wait(30)
