"""Creates a schedule over gRPC with a generated client, and prints what the service answered as JSON.

usage: create_schedule.py HOST:PORT PARENT SCHEDULE_ID
"""

import json
import sys

import grpc
from google.protobuf import duration_pb2, json_format
from google.rpc import error_details_pb2, status_pb2

from carillon.run.v1 import run_pb2
from carillon.schedule.v1 import schedule_pb2, schedule_service_pb2, schedule_service_pb2_grpc


def request(parent: str, schedule_id: str, interval: int) -> schedule_service_pb2.CreateScheduleRequest:
    run = run_pb2.RunSpec(task="command")
    run.inputs.values.update({"command": ["/bin/echo", "made in Python"]})
    rate = schedule_pb2.Rate(interval=duration_pb2.Duration(seconds=interval))
    spec = schedule_pb2.ScheduleSpec(rate=rate, run=run)
    return schedule_service_pb2.CreateScheduleRequest(
        parent=parent,
        schedule_id=schedule_id,
        schedule=schedule_pb2.Schedule(description="made in Python", spec=spec),
    )


def refusal(error: grpc.RpcError) -> dict[str, object]:
    """The code and the field violations of a refused call."""
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    violations = []
    for detail in status_pb2.Status.FromString(details).details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            violations += [violation.field for violation in bad.field_violations]
    return {"code": error.code().name, "violations": violations}


def main(address: str, parent: str, schedule_id: str) -> None:
    with grpc.insecure_channel(address) as channel:
        service = schedule_service_pb2_grpc.ScheduleServiceStub(channel)
        created = service.CreateSchedule(request(parent, schedule_id, 1), timeout=10)
        try:
            service.CreateSchedule(request(parent, f"{schedule_id}-bad", 0), timeout=10)
        except grpc.RpcError as error:
            refused = refusal(error)
        else:
            raise SystemExit("a rate of 0 s was accepted")
        listed = service.ListSchedules(
            schedule_service_pb2.ListSchedulesRequest(parent=parent), timeout=10
        )
    print(
        json.dumps(
            {
                "created": json_format.MessageToDict(created.schedule),
                "refused": refused,
                "listed": [schedule.name for schedule in listed.schedules],
            }
        )
    )


main(*sys.argv[1:])
