//! An actor in Rust, against nothing but the WIT of `theater:simple`: it remembers words in a store, says them to
//! another actor, and answers HTTP.

wit_bindgen::generate!({ path: "../../theater/wit/simple", world: "everything", generate_all });

use exports::theater::simple::{actor, http_handlers, message_server_client, process_handlers, supervisor_handlers};
use theater::simple::http_types::{HttpRequest, HttpResponse, MiddlewareResult};
use theater::simple::types::{ChannelAccept, WitActorError};
use theater::simple::websocket_types::WebsocketMessage;
use theater::simple::{message_server_host, runtime, store};

type State = Option<Vec<u8>>;
type Kept = Result<(State,), String>;

struct Clerk;

impl actor::Guest for Clerk {
    fn init(_: State, (id,): (String,)) -> Kept {
        runtime::log(&format!("{id} is written in Rust"));
        Ok((Some(store::new()?.into_bytes()),))
    }
}

impl message_server_client::Guest for Clerk {
    fn handle_send(state: State, (message,): (Vec<u8>,)) -> Kept {
        message_server_host::send("friend", &message)?;
        Ok((state,))
    }

    fn handle_request(state: State, (_, body): (String, Vec<u8>)) -> Result<(State, (Option<Vec<u8>>,)), String> {
        let id = String::from_utf8(state.clone().unwrap_or_default()).map_err(|error| error.to_string())?;
        if body.is_empty() {
            return Err("say something".into());
        }
        store::store_at_label(&id, "word", &body)?;
        let found = store::get_by_label(&id, "word")?.ok_or("nothing was kept")?;
        let word = store::get(&id, &found)?;
        Ok((state, (Some(word),)))
    }

    fn handle_channel_open(state: State, (_, message): (String, Vec<u8>)) -> Result<(State, (ChannelAccept,)), String> {
        Ok((state, (ChannelAccept { accepted: true, message: Some(message) },)))
    }

    fn handle_channel_message(state: State, (channel, message): (String, Vec<u8>)) -> Kept {
        message_server_host::send_on_channel(&channel, &message)?;
        Ok((state,))
    }

    fn handle_channel_close(state: State, _: (String,)) -> Kept {
        Ok((state,))
    }
}

impl http_handlers::Guest for Clerk {
    fn handle_request(state: State, (_, request): (u64, HttpRequest)) -> Result<(State, (HttpResponse,)), String> {
        let response = HttpResponse { status: 200, headers: request.headers, body: Some(request.uri.into_bytes()) };
        Ok((state, (response,)))
    }

    fn handle_middleware(state: State, (_, request): (u64, HttpRequest)) -> Result<(State, (MiddlewareResult,)), String> {
        Ok((state, (MiddlewareResult { proceed: true, request },)))
    }

    fn handle_websocket_connect(state: State, _: (u64, u64, String, Option<String>)) -> Kept {
        Ok((state,))
    }

    fn handle_websocket_message(
        state: State,
        (_, _, message): (u64, u64, WebsocketMessage),
    ) -> Result<(State, (Vec<WebsocketMessage>,)), String> {
        Ok((state, (vec![message],)))
    }

    fn handle_websocket_disconnect(state: State, _: (u64, u64)) -> Kept {
        Ok((state,))
    }
}

impl supervisor_handlers::Guest for Clerk {
    fn handle_child_error(state: State, _: (String, WitActorError)) -> Kept {
        Ok((state,))
    }

    fn handle_child_exit(state: State, _: (String, State)) -> Kept {
        Ok((state,))
    }

    fn handle_child_external_stop(state: State, _: (String,)) -> Kept {
        Ok((state,))
    }
}

impl process_handlers::Guest for Clerk {
    fn handle_stdout(state: State, _: (u64, Vec<u8>)) -> Kept {
        Ok((state,))
    }

    fn handle_stderr(state: State, _: (u64, Vec<u8>)) -> Kept {
        Ok((state,))
    }

    fn handle_exit(state: State, _: (u64, i32)) -> Kept {
        Ok((state,))
    }
}

export!(Clerk);
