from jobqueue.adapters import Adapter


def test_x(adapter: Adapter) -> None:
    adapter.ping()


def test_y(clocked_adapter: Adapter) -> None:
    clocked_adapter.ping()
