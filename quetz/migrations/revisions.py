from quetz.migrations.positions import check_schema, is_in_use, looking  # noqa
from quetz.migrations.trees import load_tree, make_config  # noqa
