"""What people said of an alert, the newest first."""

import pandas as pd

from components.warehouse import Warehouse

SAID = """
select made_at, action, label, until, note, symbol from labels where alert_id = %(id)s
order by made_at desc, symbol limit %(limit)s
"""


def said(warehouse: Warehouse, alert_id: str, limit: int = 200) -> pd.DataFrame:
    """Each thing said, of each instrument: made_at, action, label, until, note, symbol."""
    return warehouse.query(SAID, {"id": alert_id, "limit": limit})
