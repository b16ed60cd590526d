"""What actors, programs and the network may do to others through the handlers, and the tests which show it held off.

The list is the one that the project has set itself. Each row names tests by file; one that is missing fails here, and
so does a form of attack that is known by name and that its test no longer tries.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LIST = {
    "a path that leads out of what is granted": (
        "host/test_folders.py::test_a_path_that_leads_out_is_refused_with_a_sentence",
        "host/test_folders.py::test_no_path_at_all_leads_out",
        "host/test_folders.py::test_no_link_is_followed",
        "host/test_folders.py::test_a_folder_that_becomes_a_link_and_back_all_the_time_never_leads_out",
        "host/test_folders.py::test_pipes_devices_and_sockets_are_never_opened",
        "host/test_folders.py::test_the_servers_home_is_granted_to_nobody",
        "host/test_folders.py::test_a_folder_cannot_be_left_by_dots_either",
        "store/test_labels.py::test_a_label_never_becomes_a_path",
        "host/test_stores.py::test_what_is_no_id_and_no_name_opens_nothing",
        "server/test_actors_with_files.py::test_nobody_reads_out_of_a_folder_that_becomes_a_link_all_the_time",
        "server/test_commands_of_actors.py::test_what_is_not_granted_is_refused",
        "server/test_programs_of_actors.py::test_a_program_runs_in_a_granted_folder_and_no_other",
        "gateway/test_tls.py::test_certificates_come_from_granted_folders_and_nowhere_else",
    ),
    "an address in disguise, or one that is not everybody's": (
        "core/test_addresses.py::test_what_is_not_everybodys_has_a_name",
        "core/test_addresses.py::test_no_ipv4_address_is_reached_inside_of_ipv6",
        "core/test_addresses.py::test_an_address_in_disguise_is_refused",
        "core/test_addresses.py::test_nothing_passes_that_python_knows_not_to_be_global",
        "gateway/test_http_client.py::test_an_address_that_is_not_everybodys_needs_a_grant",
        "gateway/test_http_client.py::test_a_name_does_not_lead_to_what_is_not_granted",
        "gateway/test_http_client.py::test_what_is_connected_is_what_was_looked_at_although_a_name_changes_its_mind",
        "gateway/test_http_client.py::test_a_redirect_leads_nowhere_else_than_a_request",
        "gateway/test_http_client_connections.py::test_no_socket_is_made_for_what_is_not_granted",
        "gateway/test_servers.py::test_only_addresses_that_are_granted_are_listened_on",
    ),
    "headers that smuggle, fold or never end": (
        "gateway/test_bad_requests.py::test_what_another_server_may_read_differently_is_refused",
        "gateway/test_bad_requests.py::test_a_head_that_is_too_large_is_refused",
        "gateway/test_bad_requests.py::test_a_head_that_never_ends_is_refused_by_its_size",
        "gateway/test_bad_requests.py::test_a_head_that_comes_slowly_is_refused_by_its_time",
        "gateway/test_http_requests.py::test_parameters_arrive_as_headers_that_no_client_can_forge",
        "gateway/test_http_requests.py::test_no_header_of_an_answer_begins_another_one",
        "gateway/test_http_client.py::test_headers_that_would_change_the_message_are_refused",
        "gateway/test_http_client.py::test_what_is_no_response_is_a_sentence",
    ),
    "a handler that the manifest lacks": (
        "server/test_bad_input.py::test_an_import_that_the_manifest_does_not_grant_is_named",
        "server/test_actors_with_files.py::test_an_actor_without_the_handler_is_told_what_its_manifest_lacks",
        "server/test_http_client_of_actors.py::test_an_actor_without_the_handler_is_told_what_is_missing",
        "server/test_system_handlers.py::test_without_the_handler_there_is_no_actor",
        "gateway/test_servers.py::test_an_actor_without_the_grant_cannot_listen",
    ),
    "a client that vanishes in the middle": (
        "gateway/test_servers.py::test_a_client_that_vanishes_leaves_nothing_behind",
        "gateway/test_websockets.py::test_clients_that_vanish_are_each_told_once",
        "server/test_channels_outside.py::test_a_client_that_was_killed_has_closed_its_channel",
    ),
    "an actor that dies with 100 open requests": (
        "gateway/test_servers.py::test_a_hundred_open_requests_of_an_actor_that_dies_are_each_told_so_at_once",
    ),
    "a WebSocket flood": (
        "gateway/test_websockets.py::test_a_flood_is_not_read_faster_than_the_actor_takes_it",
        "gateway/test_websockets.py::test_a_message_that_is_too_long_closes_with_1009",
        "gateway/test_websockets.py::test_a_reader_that_is_too_slow_is_cut_off",
    ),
    "a 1 GB body against a 10 MB limit": (
        "gateway/test_bad_requests.py::test_a_body_of_a_gigabyte_is_refused_while_it_is_sent",
        "gateway/test_bad_requests.py::test_a_body_is_refused_by_its_length_before_it_is_read",
        "gateway/test_bad_requests.py::test_a_chunked_body_is_bounded_too",
        "gateway/test_http_client.py::test_a_body_over_the_limit_is_refused",
    ),
    "a port already taken": ("gateway/test_servers.py::test_a_port_that_is_taken_is_named",),
    "a certificate that does not match": (
        "gateway/test_tls.py::test_a_key_of_another_certificate_is_refused",
        "gateway/test_http_client_connections.py::test_a_server_proves_who_it_is",
    ),
    "a redirect loop": (
        "gateway/test_http_client.py::test_redirects_end",
        "gateway/test_http_client.py::test_a_redirect_is_held_to_the_allow_list",
    ),
    "a program that ignores SIGTERM": (
        "server/test_programs_of_actors.py::test_a_program_that_ignores_sigterm_is_killed_when_its_time_is_over",
        "server/test_commands_of_actors.py::test_a_command_that_takes_too_long_is_ended_with_all_that_it_started",
    ),
    "a full quota": (
        "server/test_actors_with_files.py::test_a_quota_counts_over_lives",
        "server/test_actors_with_files.py::test_a_full_quota_of_a_store_is_an_err",
        "server/test_programs_of_actors.py::test_only_so_many_programs_run_at_once",
        "host/test_folders.py::test_the_quota_holds_for_all_folders_together",
        "host/test_stores.py::test_all_stores_of_an_actor_have_one_quota",
        "host/test_stores.py::test_a_shared_store_has_a_quota_of_its_own",
    ),
}
KNOWN_FORMS = {
    "host/test_folders.py": (
        '"data/../secret.txt"',
        '"data\\0/a.txt"',
        '"/proc/self/cwd/etc/passwd"',
        '"/etc/passwd"',
    ),
    "core/test_addresses.py": (
        '"127.1"',
        '"0x7f.1"',
        '"2130706433"',
        '"0177.0.0.1"',
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "224.0.0.1",
    ),
    "gateway/test_bad_requests.py": (
        "Content-Length: 4\\r\\nTransfer-Encoding: chunked",
        "Content-Length: 4, 4",
        "A: b\\r\\n c\\r\\n",
        "HTTP/1.1\\nHost: a\\n\\n",
    ),
}


@pytest.mark.parametrize("what", LIST)
def test_whatever_is_done_through_a_handler_has_its_tests(what: str) -> None:
    for name in LIST[what]:
        file, _, test = name.partition("::")
        assert re.search(rf"^def {test}\(", (TESTS / file).read_text(), re.MULTILINE), f"there is no {name}"


@pytest.mark.parametrize("file", KNOWN_FORMS)
def test_what_is_known_by_name_is_tried(file: str) -> None:
    text = (TESTS / file).read_text()
    assert [form for form in KNOWN_FORMS[file] if form not in text] == []
