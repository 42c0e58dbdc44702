#!/usr/bin/env node
// The command line: commands, their flags and their exit codes. 0: done, 1: failed, 2: not understood. Each command is
// loaded when it is called, so none pays for another's dependencies.

import { Command, CommanderError, Option } from 'commander';
import { SETTINGS } from './config.js';
import { OperatingError } from './errors.js';
import { version } from './version.js';

const program = new Command('treeline')
  .description('Streaming anomaly detection for Prometheus')
  .version(version())
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text) });

type Options = Record<string, string | boolean>;

withSettings(program.command('run').description('Run the service'))
  .option('--verify-replay', 'replay the log beside the saved state, compare, and exit')
  .addHelpText(
    'after',
    '\nExample:\n  treeline run --data-dir /var/lib/treeline --listen 127.0.0.1:8275',
  )
  .action(async (options: Options) => {
    await (await import('./cli/run.js')).run(options);
  });

const config = program.command('config').description('Check, print and describe settings');
config
  .command('check')
  .description(
    'Name every fault of a settings file with its line and column; exit 1 when there is any',
  )
  .argument('<file>', 'settings in YAML')
  .addOption(outputOption())
  .addHelpText('after', '\nExample:\n  treeline config check treeline.yaml')
  .action(async (file: string, options: { output?: string }) => {
    (await import('./cli/config.js')).checkConfig(file, options);
  });
withSettings(
  config
    .command('print')
    .description('Print every setting in force, and where its value came from'),
)
  .addOption(outputOption())
  .addHelpText('after', '\nExample:\n  treeline config print --config treeline.yaml')
  .action(async (options: Options) => {
    (await import('./cli/config.js')).printConfig(options);
  });
config
  .command('schema')
  .description('Print the JSON Schema of a settings file, for editors')
  .addHelpText('after', '\nExample:\n  treeline config schema > treeline.schema.json')
  .action(async () => {
    (await import('./cli/config.js')).printSchema();
  });

withSettings(
  program
    .command('doctor')
    .description('Check a Prometheus before Treeline is installed, or a data directory'),
)
  .option('--prometheus <url>', 'address of a Prometheus, or of what speaks its API')
  .option('--local', 'look at the data directory and the settings')
  .addOption(outputOption())
  .addHelpText('after', '\nExample:\n  treeline doctor --prometheus http://127.0.0.1:9090')
  .action(async (options: Options) => {
    if (options['prometheus'] === undefined && options['local'] !== true) {
      program.error('error: say what to look at: --prometheus <url> or --local');
    }
    await (await import('./cli/doctor.js')).doctor(options);
  });

program
  .command('demo')
  .description('Run the service on a temporary directory, fed by a synthetic fleet with one fault')
  .option('--listen <address>', 'HOST:PORT to listen on (default "127.0.0.1:8275")')
  .option('--weeks <number>', 'weeks of history to send first', '2')
  .option('--once', 'exit as soon as the fault has been found')
  .addHelpText('after', '\nExample:\n  treeline demo')
  .action(async (options: import('./cli/demo.js').DemoOptions) => {
    await (await import('./cli/demo.js')).demo(options);
  });

program
  .command('score')
  .description('Score CSV files with the same core, one output row per input row')
  .argument('<file...>', 'CSV files with a header line, gzipped or not, or folders of them')
  .option(
    '--column <name>',
    'column of the timestamps: ISO 8601, or epoch seconds or milliseconds',
    'timestamp',
  )
  .option('--value <names>', 'columns of the values, with commas between them', 'value')
  .option('--out <path>', 'file to write, or a directory for several series; else standard output')
  .option('--seed <number>', 'seed of the table of trees', '1')
  .option('--timezone <name>', 'in which hours and weekends are learnt', 'UTC')
  .option('--plot <file>', 'draw value, band and anomalies into a file, .svg or .html')
  .option('--direction <side>', 'flag only values above or below what was expected, or both')
  .option('--min-deviation <number>', 'flag only values so far from what was expected')
  .option('--of <n/m>', 'begin an anomaly only when n of the last m values are so')
  .option('--deep-check <on|off>', 'on: flags also ask the forecaster, as the service does', 'off')
  .option('--jobs <number>', 'threads to work with', '1')
  .option('--shard <i/n>', 'the i-th of n parts of the files, or of the columns of one', '1/1')
  .addOption(outputOption())
  .addHelpText('after', '\nExample:\n  treeline score cpu.csv --out scored.csv --plot cpu.html')
  .action(async (files: string[], options: import('./cli/score.js').ScoreOptions) => {
    const refuse = (message: string): never => program.error(`error: ${message}`);
    await (await import('./cli/score.js')).score(files, options, refuse);
  });

program
  .command('backtest')
  .description('What would have alerted, over the history of a Prometheus; it reads only')
  .requiredOption('--prometheus <url>', 'address of a Prometheus, or of what speaks its API')
  .requiredOption('--query <promql>', 'the series: any query that gives an instant vector')
  .option('--start <time>', 'ISO 8601, epoch seconds, or how long ago', '1w')
  .option('--end <time>', 'likewise, or now', 'now')
  .option('--step <duration>', 'time between two points', '1m')
  .option('--token-file <file>', 'file with a bearer token for that Prometheus')
  .option('--username <name>', 'user name for that Prometheus')
  .option('--password-file <file>', 'file with the password')
  .option('--seed <number>', 'seed of the table of trees', '1')
  .option('--timezone <name>', 'in which hours and weekends are learnt', 'UTC')
  .option('--plot <file>', 'draw value, band and anomalies into a file, .svg or .html')
  .option('--config <file>', 'settings in YAML, of which the noise rules hold: detection.rules')
  .option('--suggest', 'propose settings that keep the flags within their budget')
  .addOption(outputOption())
  .addHelpText(
    'after',
    "\nExample:\n  treeline backtest --prometheus http://127.0.0.1:9090 --query 'node_load1' --start 2w",
  )
  .action(async (options: import('./cli/backtest.js').BacktestOptions) => {
    const refuse = (message: string): never => program.error(`error: ${message}`);
    await (await import('./cli/backtest.js')).backtest(options, refuse);
  });

withSettings(
  program
    .command('backfill')
    .description(
      'History from a Prometheus into the log of a new installation, before live samples',
    ),
)
  .option('--prometheus <url>', 'address of a Prometheus, or of what speaks its API')
  .option(
    '--query <promql>',
    'the series that will be sent later; unless given, what ingest.keep selects',
  )
  .option('--lookback <duration>', 'how much history (2w)')
  .option('--step <duration>', 'time between two points (1m)')
  .option('--label <name=value>', 'label that is added to each series; may be repeated', append, [])
  .option('--no-external-labels', 'do not add the external_labels of that Prometheus')
  .option('--tenant <name>', 'whose samples these are, when tenancy is header')
  .option('--token-file <file>', 'file with a bearer token for that Prometheus')
  .option('--username <name>', 'user name for that Prometheus')
  .option('--password-file <file>', 'file with the password')
  .addOption(outputOption())
  .addHelpText(
    'after',
    '\nExample:\n  treeline backfill --prometheus http://127.0.0.1:9090 --query \'{job="node"}\' --lookback 2w',
  )
  .action(async (options: import('./cli/backfill.js').BackfillArguments) => {
    const refuse = (message: string): never => program.error(`error: ${message}`);
    await (await import('./cli/backfill.js')).backfill(options, refuse);
  });

withSettings(
  program.command('topics').description('Create the topics of a log on Kafka, or check them'),
)
  .addOption(outputOption())
  .addHelpText('after', '\nExample:\n  treeline topics --config treeline.yaml')
  .action(async (options: Options) => {
    await (await import('./cli/topics.js')).topics(options);
  });

program
  .command('report')
  .description('Anomalies of the last days beside the alerts of a Prometheus; it reads only')
  .option('--last <duration>', 'how far back', '7d')
  .option('--before <duration>', 'how long before an alert an anomaly may have ended', '1h')
  .option('--prometheus <url>', 'Prometheus that evaluates your alerts', 'http://127.0.0.1:9090')
  .option('--anomalies <url>', 'a running Treeline with the role api', 'http://127.0.0.1:8275')
  .option('--token-file <file>', 'file with a bearer token for that Treeline')
  .addOption(outputOption())
  .addHelpText(
    'after',
    '\nExample:\n  treeline report --last 7d --prometheus http://127.0.0.1:9090',
  )
  .action(async (options: import('./cli/report.js').ReportOptions) => {
    const refuse = (message: string): never => program.error(`error: ${message}`);
    await (await import('./cli/report.js')).report(options, refuse);
  });

const state = program
  .command('state')
  .description('Learnt state to one file and back, also into another number of partitions');
withSettings(
  state
    .command('export')
    .description('Write what was learnt to a file, or to standard output for -')
    .argument('<file>', 'file to write, or -'),
)
  .addOption(outputOption())
  .addHelpText(
    'after',
    '\nExample:\n  treeline state export learnt.tls --data-dir /var/lib/treeline',
  )
  .action(async (file: string, options: Options) => {
    await (await import('./cli/state.js')).stateExport(file, options);
  });
withSettings(
  state
    .command('import')
    .description('Put a state file into a data directory or log that has learnt nothing yet')
    .argument('<file>', 'state file'),
)
  .option('--force', 'also when samples are logged there already; those are never scored')
  .addOption(outputOption())
  .addHelpText('after', '\nExample:\n  treeline state import learnt.tls --log-partitions 8')
  .action(async (file: string, options: Options) => {
    await (await import('./cli/state.js')).stateImport(file, options);
  });
state
  .command('verify')
  .description('Check a state file from end to end and say what it holds')
  .argument('<file>', 'state file')
  .addOption(outputOption())
  .addHelpText('after', '\nExample:\n  treeline state verify learnt.tls')
  .action(async (file: string, options: Options) => {
    await (await import('./cli/state.js')).stateVerify(file, options);
  });

program
  .command('model')
  .description('Look at models of the deep check')
  .command('inspect')
  .description('Read a model and its manifest, compare its answers, and run it once')
  .argument(
    '<file>',
    'an ONNX file with its manifest beside it, a manifest, or the name of a shipped one',
  )
  .addOption(
    new Option('--runtime <kind>', 'where to run it')
      .choices(['auto', 'native', 'wasm'])
      .default('auto'),
  )
  .addOption(outputOption())
  .addHelpText('after', '\nExample:\n  treeline model inspect models/nano.onnx')
  .action(async (file: string, options: import('./cli/model.js').InspectOptions) => {
    await (await import('./cli/model.js')).inspectModel(file, options);
  });

/** The options that every command with settings takes. */
function withSettings(command: Command): Command {
  command.option('--config <file>', 'settings in YAML');
  for (const { flag, schema } of SETTINGS) {
    const help = `${schema.description} (default ${JSON.stringify(schema['default'])})`;
    command.addOption(new Option(`--${flag} <value>`, help));
  }
  return command;
}

function append(value: string, before: string[]): string[] {
  return [...before, value];
}

function outputOption(): Option {
  return new Option('-o, --output <format>', 'how to print')
    .choices(['text', 'json'])
    .default('text');
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (error instanceof OperatingError) {
    process.stderr.write(`treeline: ${error.message}\n`);
    process.exitCode = 1;
  } else throw error;
}
